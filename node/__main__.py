"""`python -m node`: the `pilechain` command for places where scripts are not on PATH."""

from node.cli.main import main

if __name__ == "__main__":
    main()
