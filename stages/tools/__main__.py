"""The command `evidence`, as `python -m stages.tools`."""

from stages.tools.cli import main

if __name__ == "__main__":
    main()
