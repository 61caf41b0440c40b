"""`python -m crossmodal.cli`."""

from crossmodal.cli import main

if __name__ == "__main__":
    main()
