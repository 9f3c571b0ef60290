"""Confirm that a change is better: one test on a fresh draw, with models trained on that draw.

The validation data of a series have been looked at with every try, and the change was chosen by them. So
the task runs with another split seed, without the change and with it, and the two are compared once, at the
level of a single test. Samples that are test data of the present draw are left out of that comparison:
they choose nothing.
"""

import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_csv, write
from stages.evaluation.experiments import VALIDATION_PREDICTIONS
from stages.tools.dvc_experiments import Change, read_file, remove_experiment

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from stages.core.task import Task
    from stages.evaluation.experiments import ExperimentResult
    from stages.tools.dvc_experiments import ExperimentRunner
    from stages.tools.experiment_series import Draw


@dataclass(frozen=True)
class Confirmation:
    """The test of a change on a fresh draw.

    Attributes:
        split_seed: of the draw, "" where there was none.
        text: its result in words.
        confirmed: whether the change is better on it too.
    """

    split_seed: str
    text: str
    confirmed: bool


def confirm(
    task: "Task",
    change: Change,
    inputs: "Sequence[str]",
    draw: "Draw",
    log: "pd.DataFrame",
    run: "ExperimentRunner",
) -> Confirmation:
    """Test a change on a fresh draw.

    Args:
        task: with a pack of the present params.
        change: which was better on the present draw.
        inputs: files and folders that git does not hold, as for `run_experiment`.
        draw: the present one.
        log: the experiments so far; a draw that confirmed an earlier one is not fresh.
        run: runs experiments.
    """
    if "validation" in draw.official:
        return Confirmation(
            "",
            "not possible: the validation data are official, and no others can be drawn; "
            "--unconfirmed keeps a change without it",
            confirmed=False,
        )
    seed = fresh_seed(draw, log)
    split = Change(task.key("prepare.split.seed"), seed)
    names = []
    try:
        for name, error in run(([split], [split, change]), task, inputs):
            names.append(name)
            if error:
                return Confirmation(seed, f"failed: {error}", confirmed=False)
        result = _compare(task, *names)
    except UserError as error:
        return Confirmation(seed, f"failed: {error}", confirmed=False)
    finally:  # nobody sees its test results
        for name in names:
            remove_experiment(name)
    p = "" if result.p is None else f", p {result.p:.2g}"
    text = f"{result.verdict}: {result.before} before, {result.after} after{p}"
    return Confirmation(seed, text, confirmed=result.verdict == "better")


def fresh_seed(draw: "Draw", log: "pd.DataFrame") -> str:
    """Return the smallest split seed on which the task has neither been tried nor confirmed."""
    used = {draw.split_seed, *log["split_seed"], *log["confirmation_seed"]}
    return next(str(seed) for seed in count() if str(seed) not in used)


def _compare(task: "Task", before: str, after: str) -> "ExperimentResult":
    """Return how two experiments compare, without the present draw's test samples.

    Raises:
        UserError: they cannot be compared.
    """
    module = task.module("experiment")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name, module.RESULTS) for name in ("before", "after")]
        for path, name in zip(paths, (before, after), strict=True):
            write(path, read_file(name, task.evidence / "data" / module.RESULTS))
            if module.RESULTS == VALIDATION_PREDICTIONS:
                write(path, _without_test_samples(task, path))
        result: ExperimentResult = module.compare(*paths, task)
    return result


def _without_test_samples(task: "Task", path: Path) -> "pd.DataFrame":
    table = read_csv(path, dtype={"id": str})
    if task.params.prepare.split.folds > 1:
        return table  # every sample is test data of one fold
    tested = read_csv(task.evidence / "data" / "predictions.csv", dtype={"id": str})["id"]
    rest = table[~table["id"].isin(tested)]
    if rest.empty:
        raise UserError("all validation samples of the fresh draw are test samples of the present")
    return rest
