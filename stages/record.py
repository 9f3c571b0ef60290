"""Record: four lines on each task, from measured numbers. `python -m stages.record [TASK]`."""

import argparse

from stages.params import load
from stages.shared.files import read_json
from stages.shared.refusal import refusing
from stages.shared.task import tasks


def main() -> None:
    """Print task, improvement, failure_case_count and next_step of each task, and where to look."""
    parser = argparse.ArgumentParser(prog="python -m stages.record", description=__doc__)
    with refusing("record"):
        found = tasks(load())
        parser.add_argument("task", nargs="?", choices=list(found), help="one task only")
        wanted = parser.parse_args().task
        for name, task in found.items():
            if wanted in {None, name}:
                record = read_json(task.evidence / "record.json")
                print(f"task: {record['task']}")
                print(f"improvement: {record['improvement']:+.3f}")
                print(f"failure_case_count: {record['failure_case_count']}")
                print(f"next_step: {record['next_step']['command']}")


if __name__ == "__main__":
    main()
