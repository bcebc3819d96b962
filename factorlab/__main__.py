"""Run the command line: ``python -m factorlab``."""

from factorlab.cli import main

if __name__ == "__main__":
    main(prog_name="factorlab")
