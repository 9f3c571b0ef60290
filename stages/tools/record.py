"""Print four lines for each task: name, improvement, failure case count, next step.

The improvement is the accuracy of the model minus that of the baseline on the same test samples; of
generated images, by how much the Fréchet distance to test images falls. The next step is said in words, and
then as the command that tries it.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("task", nargs="?", help="a task of params.yaml (default: all)")


def run(arguments: argparse.Namespace) -> None:
    """Print the record of each task, or of one."""
    from stages.core.files import read_json
    from stages.kinds.params import load_params, load_tasks, select_task

    tasks = load_tasks(load_params())
    selected = tasks.values() if arguments.task is None else [select_task(tasks, arguments.task)]
    for task in selected:
        record = read_json(task.evidence / "record.json")
        print(f"task: {record['task']}")
        print(f"improvement: {record['improvement']:+.3f}")
        print(f"failure_case_count: {record['failure_case_count']}")
        step = record["next_step"]
        print(f"next_step: {step['summary']}: {step['command']}")
