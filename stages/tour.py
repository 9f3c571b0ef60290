"""Follow one batch of the workshop through the loop: `python -m stages.tour > docs/workshop.md`."""

import argparse

from stages.params import load
from stages.shared.refusal import refusing
from stages.shared.runtime import hold, hold_torch
from stages.shared.task import tasks

TASK = "workshop"


def main() -> None:
    """Print the tour, as Markdown, with the values of the first batch of the first seed."""
    argparse.ArgumentParser(prog="python -m stages.tour", description=__doc__).parse_args()
    with refusing(f"tour@{TASK}"):
        params = load()
        hold(params.runtime)
        hold_torch(params.runtime)
        task = tasks(params)[TASK]
        cell = task.cell("tour")
        print(cell.rendered(cell.followed(task)), end="")


if __name__ == "__main__":
    main()
