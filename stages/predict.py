"""Predict: what the headline model says of files. `python -m stages.predict image FILE...`."""

import argparse

from stages.params import load
from stages.shared.refusal import printable, refusing
from stages.shared.runtime import hold
from stages.shared.task import tasks


def main() -> None:
    """Print, for each input, label and confidence."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("task")
    parser.add_argument("input", nargs="+", help="image: files")
    given = parser.parse_args()
    with refusing(f"predict@{given.task}"):
        params = load()
        hold(params.runtime)
        found = tasks(params)
        if given.task not in found:
            parser.error(f"task: given {given.task!r}; must be one of {', '.join(found)}")
        for name, label, confidence in (
            found[given.task].cell("predict").predict(found[given.task], given.input)
        ):
            print(f"{printable(name)}\t{printable(label)}\t{confidence:.3f}")


if __name__ == "__main__":
    main()
