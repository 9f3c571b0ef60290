"""Sample: pictures drawn by the chosen checkpoint. `python -m stages.sample --label 7 --out FILE.png`."""

import argparse
from pathlib import Path

from stages.params import load
from stages.shared.refusal import Refusal, refusing
from stages.shared.runtime import hold
from stages.shared.task import tasks

_MOST = 10_000
_ACROSS = 8


def main() -> None:
    """Write a PNG of `--count` samples of `--label`; the same seed gives the same picture."""
    parser = argparse.ArgumentParser(prog="python -m stages.sample", description=__doc__)
    parser.add_argument("--label", required=True, help="a class, by name")
    parser.add_argument("--count", type=int, default=16, help="how many (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    given = parser.parse_args()
    with refusing("sample"):
        params = load()
        hold(params.runtime)
        if not 1 <= given.count <= _MOST:
            raise Refusal(f"--count: given {given.count}; must be from 1 to {_MOST}")
        if not 0 <= given.seed < 2**32:
            raise Refusal(f"--seed: given {given.seed}; must be from 0 to {2**32 - 1}")
        if given.out.suffix.lower() != ".png":
            raise Refusal(f"--out: given {str(given.out)!r}; must end in .png")
        if not given.out.parent.is_dir():
            raise Refusal(f"--out: {given.out.parent} is no folder; make it first")
        from stages.shared import pictures
        from stages.shared.files import write
        from stages.tasks.generative.sample import sample

        found = sample(tasks(params)["generative"], given.label, given.count, given.seed)
        lines = [list(found[at : at + _ACROSS]) for at in range(0, len(found), _ACROSS)]
        write(given.out, pictures.rows(lines))
        print(given.out)


if __name__ == "__main__":
    main()
