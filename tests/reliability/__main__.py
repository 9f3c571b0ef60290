"""Measure the reliability of the project: `PYTHONPATH=.:tests python -m reliability kills --count 100`."""

import argparse
import sys
import tempfile
from pathlib import Path

from reliability.bad_input import mutated_data, mutated_params
from reliability.circumstances import try_circumstances
from reliability.kills import run_kills
from reliability.report import record, summarise

COUNTS = {"kills": 100, "params": 500, "data": 200}


def main() -> None:
    """Run one part; record its results unless asked not to; exit with 1 where there is a problem."""
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("part", choices=[*COUNTS, "circumstances"])
    parser.add_argument("--count", type=int, help="of cases (kills 100, params 500, data 200)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--folder", type=Path, help="to work in (default: a temporary one)")
    parser.add_argument("--no-record", action="store_true", help="only print")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(
        prefix="reliability-", ignore_cleanup_errors=True
    ) as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        if arguments.part == "circumstances":
            result = summarise(try_circumstances(folder), None)
        else:
            run = {"kills": run_kills, "params": mutated_params, "data": mutated_data}[
                arguments.part
            ]
            count = arguments.count or COUNTS[arguments.part]
            result = summarise(run(folder, count, arguments.seed), arguments.seed)
    if not arguments.no_record:
        record(arguments.part, result)
    print("\n".join(result["problems"]) or f"{result['count']} cases, no problem")
    sys.exit(bool(result["problems"]))


if __name__ == "__main__":
    main()
