"""Measure how often "confidently wrong in every run" means a wrong label, by planting wrong labels.

`python -m stages.tools.planted_labels sentiment` changes the labels of some test samples of a finished
task, in memory, and asks which samples the cause then names. It writes the table into docs/statistics.md.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.core.errors import UserError, exit_on_user_error
from stages.core.files import read_arrays, read_csv, write
from stages.core.progress import progress
from stages.datasets.dataset import read_dataset
from stages.evaluation.error_analysis import find_failure_cases
from stages.evaluation.failure_causes import CONFIDENTLY_WRONG
from stages.kinds.params import load_params, load_tasks, select_task
from stages.report.formatting import markdown_table, percent
from stages.tools.simulate import PAGE, with_tables

if TYPE_CHECKING:
    from stages.core.task import Task

SHARES = (0.01, 0.05, 0.1)  # of test labels that are wrong
DRAWS = 20


@dataclass(frozen=True)
class Counts:
    """Samples over all draws: planted labels, cases that are named, and those that are both."""

    planted: int
    named: int
    named_planted: int


def with_wrong_labels(
    labels: np.ndarray, classes: int, share: float, random: np.random.Generator
) -> np.ndarray:
    """Return labels of which a share is another class, at random.

    Args:
        labels: (n,), integers.
        classes: how many there are.
        share: of the labels, rounded up to a whole number of them.
        random: draws which, and to which class.
    """
    places = random.choice(len(labels), int(np.ceil(share * len(labels))), replace=False)
    changed = labels.copy()
    changed[places] = (labels[places] + random.integers(1, classes, len(places))) % classes
    return changed


def count_named(task: "Task", share: float, draws: int) -> Counts:
    """Return how often the cause names planted labels.

    Args:
        task: whose stage evaluate has run, with several seeds.
        share: of the test labels that are planted.
        draws: how often labels are planted anew.

    Raises:
        UserError: the task has one seed, or its samples are drawn for their labels.
    """
    folder, seeds = task.folder("evaluate"), task.params.train.seeds
    folds = [read_dataset(fold) for fold in task.folds()]
    if len(seeds) < 2 or folds[0].note["synthetic"]:  # noqa: PLR2004
        raise UserError(f"{task.name}: the cause needs several seeds, and labels that people gave")
    predictions = read_csv(
        folder / "predictions.csv", dtype={"id": str, "group": str, "bucket": str}
    )
    stored = read_arrays(folder / "probabilities.safetensors")
    probabilities = {f"seed_{seed}": stored[f"seed_{seed}"] for seed in seeds}
    features = read_arrays(folder / "features.safetensors")
    labels = predictions["label"].to_numpy()
    ids, counts = predictions["id"].to_numpy(), np.zeros(3, dtype=int)
    for changed in _draws(labels, len(folds[0].classes), share, draws):
        cases = find_failure_cases(
            folds,
            predictions.assign(label=changed),
            probabilities,
            features,
            task.params.failures,
        )
        names = set(cases.loc[cases["cause"] == CONFIDENTLY_WRONG, "id"])
        wrong = set(ids[changed != labels])
        counts += len(wrong), len(names), len(names & wrong)
    return Counts(*counts.tolist())


def _draws(labels: np.ndarray, classes: int, share: float, draws: int) -> Iterator[np.ndarray]:
    for seed in progress(range(draws), f"planting {share:.0%} wrong labels"):
        yield with_wrong_labels(labels, classes, share, np.random.default_rng(seed))


def table(tasks: Sequence["Task"]) -> str:
    """Return the table: precision and recall of the cause, by task and share of wrong labels."""
    rows = []
    for task in tasks:
        for share in SHARES:
            counts = count_named(task, share, DRAWS)
            rows.append(
                (
                    task.name,
                    percent(share, 0),
                    counts.planted,
                    counts.named,
                    percent(counts.named_planted / counts.named, 0)
                    if counts.named
                    else "none named",
                    percent(counts.named_planted / counts.planted, 0),
                )
            )
    header = (
        "task",
        "wrong labels",
        "planted",
        "named",
        "of the named, planted",
        "of the planted, named",
    )
    return f"{DRAWS} draws a row.\n\n{markdown_table(header, rows, range(1, 6))}"


def main() -> None:
    """Write the table of the tasks on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.planted_labels", description=__doc__
    )
    parser.add_argument("task", nargs="+", help="a task whose pipeline has run")
    names = parser.parse_args().task
    with exit_on_user_error("planted_labels"):
        tasks = load_tasks(load_params())
        text = table([select_task(tasks, name) for name in names])
        page = PAGE.read_text(encoding="utf-8")
        write(PAGE, with_tables(page, "labels", text, "planted_labels"))


if __name__ == "__main__":
    main()
