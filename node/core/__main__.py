"""`python -m node.core --home FOLDER`: one core process."""

import sys
from argparse import ArgumentParser
from pathlib import Path

from node.core.start import main

parser = ArgumentParser(prog="python -m node.core", description="Run the core process of a node.")
parser.add_argument("--home", type=Path, required=True, help="folder of the node")
sys.exit(main(parser.parse_args().home))
