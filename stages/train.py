"""Train: the model, once for each fold and seed; the first seed is the primary one."""

import shutil
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.runtime import seed_of_fold
from stages.core.task import LIVE, Task
from stages.kinds.entry import run_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning_fabric import Fabric

    from stages.training.loop import History, TrainingRun, TrainingState


def run(task: Task) -> None:
    """Write each run's weights and log, the selected epochs, and the diagnostics."""
    from stages.core.files import write_all
    from stages.core.side_by_side import run_side_by_side
    from stages.training.checkpoints import (
        delete_resume_states,
        exclusive_trainer,
        fingerprint,
        resume_folder,
    )
    from stages.training.devices import launch_fabric, lost_process_is_an_error
    from stages.training.diagnostics import diagnose

    runtime = task.model_runtime
    module = task.module("train")
    fabric = launch_fabric(runtime)
    inputs = (*code_files(task.kind), *module.input_files(task))
    run_fingerprint = fingerprint(task.params.train, runtime, *inputs)
    folder = task.folder("train")
    with exclusive_trainer(task.name, fabric), lost_process_is_an_error(fabric):
        if fabric.is_global_zero:
            for outputs in (folder, task.folder(LIVE)):
                shutil.rmtree(outputs, ignore_errors=True)  # an earlier run's, where DVC did not
        states = resume_folder(task.name, run_fingerprint)
        trainings = [
            partial(_train, fold, seed, training_run, fabric, states)
            for fold in task.folds()
            for training_run in [module.training_runs(fold, fabric)]
            for seed in task.params.train.seeds
        ]
        if runtime.threads == 1 and fabric.device.type == "cpu" and fabric.world_size == 1:
            for _ in run_side_by_side(trainings):
                pass  # each leaves its last state
        runs = [training() for training in trainings]
        fabric.barrier()  # all have read the resume states, which are deleted next
        if not fabric.is_global_zero:
            return
        diagnostics = []
        for run in runs:
            _write_weights(run.fold.folder("train"), run.seed, run.state)
            for diagnostic in diagnose(run.state.history, run.chance_loss):
                diagnostics.append({**run.columns(), **asdict(diagnostic)})
                print(f"train@{task.name}, {run.name}: {diagnostic}", file=sys.stderr)
        write_all(folder, {**_tables(runs), "diagnostics.json": diagnostics})
        delete_resume_states(task.name)


@dataclass(frozen=True)
class FinishedRun:
    """A training run after its last epoch.

    Attributes:
        fold: whose data it was trained on.
        seed: of the params.
        chance_loss: the loss of predicting the prior, where it has a closed form.
        state: with the selected weights.
    """

    fold: Task
    seed: int
    chance_loss: float | None
    state: "TrainingState"

    @property
    def name(self) -> str:
        """Return its name: "fold 2, seed 0"."""
        return self.fold.run_name(self.seed)

    def columns(self) -> dict[str, int]:
        """Return what identifies it in tables: its fold, where there are several, and its seed."""
        columns = {"seed": self.seed}
        return columns if self.fold.fold is None else {"fold": self.fold.fold, **columns}


def _train(
    fold: Task,
    seed: int,
    training_run: "Callable[[int], TrainingRun]",
    fabric: "Fabric",
    states: Path,
) -> FinishedRun:
    """Train one seed of one fold; a run of which `states` holds the last epoch is only read."""
    from stages.training.loop import fit

    run = training_run(seed_of_fold(seed, fold.fold))
    name, log_folder = fold.run_name(seed), fold.folder("train") / f"log-{seed}"
    table = fold.folder(LIVE) / f"seed-{seed}.csv"
    epochs = fold.params.train.epochs if fabric.is_global_zero else 0
    with _log(log_folder, table, f"{fold.name}, {name}", epochs) as log:
        state = fit(run, fabric, states / f"{name}.safetensors", log, name)
    return FinishedRun(fold, seed, run.chance_loss, state)


def code_files(kind: str) -> list[Path]:
    """Return the code on which a training run of a task of `kind` may depend."""
    names = ("core", "datasets", "training", f"kinds/{kind}")
    return sorted(file for name in names for file in Path("stages", name).rglob("*.py"))


def _write_weights(folder: Path, seed: int, state: "TrainingState") -> None:
    """Write a run's weights: those selected, or those of each checkpoint to be reviewed."""
    from stages.training.weights import write_weights

    for epoch, weights in state.checkpoints.items():
        write_weights(folder / f"weights-{seed}-epoch-{epoch}.safetensors", weights)
    if not state.checkpoints:
        write_weights(folder / f"weights-{seed}.safetensors", state.weights)


def _tables(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """Return the log of all runs, and the rule by which epochs were selected."""
    import pandas as pd

    rows = [{**run.columns(), **row} for run in runs for row in _rows(run.state.history)]
    first = runs[0].state
    checkpoints: dict[str, Any] = {
        "rule": "lowest validation loss, the first of equals",
        "epoch": {run.name: run.state.best_epoch for run in runs},
    }
    if first.checkpoints:
        checkpoints = {
            "rule": "none here: the stage evaluate reviews the checkpoints and selects one",
            "epochs": sorted(first.checkpoints),
        }
    return {"log.csv": pd.DataFrame(rows), "checkpoints.json": checkpoints}


def _rows(history: "History") -> list[dict[str, float]]:
    """Return the rows of a log, with the epoch as a whole number."""
    return [{**row, "epoch": int(row["epoch"])} for row in history]


@contextmanager
def _log(
    folder: Path, table: Path, title: str, epochs: int
) -> "Iterator[Callable[[History], None]]":
    """Yield a function that takes the history after each epoch to a progress bar, DVCLive and a table.

    DVCLive has a file for each figure, which `dvc plots` would draw one by one. It draws the table, where
    the losses stand side by side, while the training goes on.

    After a resume it receives the earlier epochs as well and writes them again, so that the log of a
    killed run ends in the same bytes. Without epochs (a process that is not the first) it does nothing.

    Raises:
        UserError: there is no space for DVC's database.
    """
    if not epochs:
        yield lambda _: None
        return
    import sqlite3

    import pandas as pd
    from dvclive.live import Live
    from tqdm import tqdm

    from stages.core.files import write
    from stages.core.progress import shows_bars

    try:
        live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
    except (
        sqlite3.Error
    ) as error:  # it opens the database of DVC, which has no errors of its own for this
        raise UserError(
            f"DVC cannot write its database ({error}); free disk space, or raise the limit of the size of "
            "files (ulimit -f), and run the same command again"
        ) from None
    with live, tqdm(total=epochs, desc=title, unit="epoch", disable=not shows_bars()) as bar:

        def log(history: "History") -> None:
            for row in history[live.step :]:
                for name, value in row.items():
                    live.log_metric(name, round(value, 6))
                live.next_step()  # type: ignore[no-untyped-call]
                bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k.endswith("loss")})
                bar.update()
            if history:
                write(table, pd.DataFrame(_rows(history)))

        yield log


if __name__ == "__main__":
    run_stage("train", run)
