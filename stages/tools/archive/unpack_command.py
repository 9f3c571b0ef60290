"""Unpack an archive: a git repository with its commit, its DVC cache, and the metadata beside it.

The commit has the hash that it had, without its history. Nothing of the archive is run, and nothing is
written outside the folder.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", type=Path, help="an archive that `evidence archive` has written")
    parser.add_argument("folder", type=Path, help="a folder to create")


def run(arguments: argparse.Namespace) -> None:
    """Unpack the archive, and print the repository and its commit."""
    from stages.tools.archive.unpack import unpack

    repository, commit = unpack(arguments.file, arguments.folder)
    print(f"{repository}: commit {commit}")
