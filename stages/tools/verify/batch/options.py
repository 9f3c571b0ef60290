"""The options of `evidence verify` for many results."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for many results."""
    parser.add_argument(
        "--batch",
        type=Path,
        metavar="FILE",
        help="YAML or CSV: repositories to verify, see the docs",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        help="of --batch: entries at the same time (default: half the cores)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="of --batch: the folder of results (default: beside the file)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="of --batch: the table as CSV")
