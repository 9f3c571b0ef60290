"""Measure the reliability of the project: `PYTHONPATH=.:tests python -m reliability kills --count 100`."""

import argparse
import math
import sys
import tempfile
from pathlib import Path

from reliability.bad_input import mutated_data, mutated_params
from reliability.circumstances import try_circumstances
from reliability.honest import verify_honest_results
from reliability.kills import run_kills, run_kills_while_writing
from reliability.report import record, summarise, write_page
from reliability.tool_kills import run_tool_kills

COUNTS = {"kills": 70, "lock": 10, "tools": 20, "honest": 20, "params": 500, "data": 200}


def main() -> None:
    """Run one part; record its results unless asked not to; exit with 1 where there is a problem.

    The results of a run with another seed are added to those recorded before.
    """
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("part", choices=[*COUNTS, "circumstances", "page"])
    parser.add_argument(
        "--count",
        type=int,
        help=f"of cases ({', '.join(f'{part} {count}' for part, count in COUNTS.items())})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--folder", type=Path, help="to work in (default: a temporary one)")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="after which no other case begins"
    )
    parser.add_argument("--no-record", action="store_true", help="only print")
    arguments = parser.parse_args()
    if arguments.part == "page":
        write_page()
        return
    with tempfile.TemporaryDirectory(
        prefix="reliability-", ignore_cleanup_errors=True
    ) as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        if arguments.part == "circumstances":
            result = summarise(try_circumstances(folder, arguments.minutes), None)
        else:
            count, seed = arguments.count or COUNTS[arguments.part], arguments.seed
            trials = {
                "kills": lambda: run_kills(folder, count, seed, arguments.minutes),
                "lock": lambda: run_kills_while_writing(folder, count, seed, arguments.minutes),
                "tools": lambda: run_tool_kills(folder, count, seed, arguments.minutes),
                "honest": lambda: verify_honest_results(folder, count, seed, arguments.minutes),
                "params": lambda: mutated_params(folder, count, seed),
                "data": lambda: mutated_data(folder, count, seed),
            }[arguments.part]()
            result = summarise(trials, seed)
    if not arguments.no_record:
        record(arguments.part, result)
    print("\n".join(result["problems"]) or f"{result['count']} cases, no problem")
    sys.exit(bool(result["problems"]))


if __name__ == "__main__":
    main()
