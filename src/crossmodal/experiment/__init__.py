"""What an experiment is: its config, recipes and budget, the runs that follow from them, and where results lie."""
