"""`python -m node.edge --home FOLDER`: one edge process."""

import argparse
import sys
from pathlib import Path

from node.edge.process import PARTS, main

parser = argparse.ArgumentParser(prog="python -m node.edge", description="The edge process of a node.")
parser.add_argument("--home", type=Path, required=True)
parser.add_argument("--only", choices=PARTS)
arguments = parser.parse_args()
sys.exit(main(arguments.home, arguments.only))
