"""`python -m sandlot.cli`: the command where its script is not on PATH."""

from sandlot.cli import main

if __name__ == "__main__":
    main()
