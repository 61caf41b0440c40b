"""Publishing and restoring experiments: DVC keeps the files that are too large for git.

Snakemake alone decides what must be made. Neither Snakemake nor DVC is imported before it is used.
"""
