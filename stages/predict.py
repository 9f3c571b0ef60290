"""Predict: what the headline model (generative: the judge) says of new inputs.

`python -m stages.predict image FILE...`, `python -m stages.predict sentiment "TEXT"...`.
"""

import argparse

from stages.params import load
from stages.shared.refusal import printable, refusing
from stages.shared.runtime import hold
from stages.shared.task import tasks


def main() -> None:
    """Print, for each input, label, confidence, and what else its task says."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("task")
    parser.add_argument(
        "input", nargs="+", help="sentiment: texts, in quotes; the others: image files"
    )
    given = parser.parse_args()
    with refusing(f"predict@{given.task}"):
        params = load()
        hold(params.runtime)
        found = tasks(params)
        if given.task not in found:
            parser.error(f"task: given {given.task!r}; must be one of {', '.join(found)}")
        task = found[given.task]
        for cells in task.cell("predict").predict(task, given.input):
            print("\t".join(map(printable, cells)))


if __name__ == "__main__":
    main()
