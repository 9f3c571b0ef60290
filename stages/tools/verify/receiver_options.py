"""The options of `evidence verify` for a receiver: claims, policy, other data, statement, batch."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the receiver."""
    conditions = parser.add_argument_group("conditions on the result (docs/receiving-many.md)")
    conditions.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="CLAIM",
        help="a claim to check: 'image accuracy >= 0.97' (may be given several times)",
    )
    conditions.add_argument(
        "--policy", type=Path, metavar="FILE", help="YAML: what every result must meet"
    )
    conditions.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="TASK=PATH",
        help="evaluate the task's model on other data too: a folder of images by class, or a table",
    )
    statement = parser.add_argument_group("a result that can be handed on (docs/verify.md)")
    statement.add_argument(
        "--attest", type=Path, metavar="FILE", help="write the result as an in-toto statement"
    )
    statement.add_argument(
        "--record",
        metavar="WHO",
        help="keep the statement in evidence/reproductions, under your name or that of your machine",
    )
    statement.add_argument(
        "--sign-key", type=Path, metavar="KEY", help="sign the statement with this ssh key"
    )
    batches = parser.add_argument_group("requests, and many results (docs/receiving-many.md)")
    batches.add_argument(
        "--pr", metavar="URL", help="a pull or merge request, instead of --repo and a revision"
    )
    batches.add_argument(
        "--batch", type=Path, metavar="FILE", help="YAML or CSV: repositories to verify"
    )
    batches.add_argument(
        "--jobs", type=int, help="of --batch: entries at the same time (default: half the cores)"
    )
    batches.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="of --batch: the folder of results (default: beside the file)",
    )
    batches.add_argument("--csv", type=Path, metavar="FILE", help="of --batch: the table as CSV")
