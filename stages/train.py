"""Train: the model, once for each fold and seed; the first seed is the primary one."""

import shutil
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.task import Task
from stages.kinds.entry import run_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stages.training.loop import History, TrainingState


def run(task: Task) -> None:
    """Write each run's weights and log, the selected epochs, and the diagnostics."""
    from stages.core.files import write_all
    from stages.core.runtime import seed_of_fold
    from stages.training.checkpoints import (
        delete_resume_states,
        exclusive_trainer,
        fingerprint,
        resume_folder,
    )
    from stages.training.devices import launch_fabric
    from stages.training.diagnostics import diagnose
    from stages.training.loop import fit

    module = task.module("train")
    fabric = launch_fabric(task.runtime)
    inputs = (*code_files(task.kind), *module.input_files(task))
    run_fingerprint = fingerprint(task.params.train, task.runtime, *inputs)
    folder = task.folder("train")
    runs: list[tuple[Task, int, TrainingState]] = []
    diagnostics: list[dict[str, Any]] = []
    with exclusive_trainer(task.name, fabric):
        if fabric.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)  # an earlier run's seeds, where DVC did not
        states = resume_folder(task.name, run_fingerprint)
        for fold in task.folds():
            training_run = module.training_runs(fold, fabric)
            for seed in task.params.train.seeds:
                epochs = task.params.train.epochs if fabric.is_global_zero else 0
                seed_run = training_run(seed_of_fold(seed, fold.fold))
                name, log_folder = fold.run_name(seed), fold.folder("train") / f"log-{seed}"
                with _log(log_folder, f"{task.name}, {name}", epochs) as log:
                    state = fit(seed_run, fabric, states / f"{name}.safetensors", log, name)
                runs.append((fold, seed, state))
                for diagnostic in diagnose(state.history, seed_run.chance_loss):
                    diagnostics.append({**_run_columns(fold, seed), **asdict(diagnostic)})
                    print(f"train@{task.name}, {name}: {diagnostic}", file=sys.stderr)
        if not fabric.is_global_zero:
            return
        for fold, seed, state in runs:
            _write_weights(fold.folder("train"), seed, state)
        write_all(folder, {**_tables(runs), "diagnostics.json": diagnostics})
        delete_resume_states(task.name)


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


def _run_columns(fold: Task, seed: int) -> dict[str, int]:
    """Return what identifies a run in tables: its fold, where there are several, and its seed."""
    return {"seed": seed} if fold.fold is None else {"fold": fold.fold, "seed": seed}


def _tables(runs: "Sequence[tuple[Task, int, TrainingState]]") -> dict[str, Any]:
    """Return the log of all runs, and the rule by which epochs were selected."""
    import pandas as pd

    rows = [
        {**_run_columns(fold, seed), **row, "epoch": int(row["epoch"])}
        for fold, seed, state in runs
        for row in state.history
    ]
    first = runs[0][2]
    checkpoints: dict[str, Any] = {
        "rule": "lowest validation loss, the first of equals",
        "epoch": {fold.run_name(seed): state.best_epoch for fold, seed, state in runs},
    }
    if first.checkpoints:
        checkpoints = {
            "rule": "none here: the stage evaluate reviews the checkpoints and selects one",
            "epochs": sorted(first.checkpoints),
        }
    return {"log.csv": pd.DataFrame(rows), "checkpoints.json": checkpoints}


@contextmanager
def _log(folder: Path, title: str, epochs: int) -> "Iterator[Callable[[History], None]]":
    """Yield a function that sends the history after each epoch to a progress bar and to DVCLive.

    After a resume it receives the earlier epochs as well and writes them again, so that the log of a
    killed run ends in the same bytes. Without epochs (a process that is not the first) it does nothing.

    Raises:
        UserError: there is no space for DVC's database.
    """
    if not epochs:
        yield lambda _: None
        return
    import sqlite3

    from dvclive.live import Live
    from tqdm import tqdm

    try:
        live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
    except (
        sqlite3.Error
    ) as error:  # it opens the database of DVC, which has no errors of its own for this
        raise UserError(
            f"DVC cannot write its database ({error}); free disk space, or raise the limit of the size of "
            "files (ulimit -f), and run the same command again"
        ) from None
    with live, tqdm(total=epochs, desc=title, unit="epoch", disable=None) as bar:

        def log(history: "History") -> None:
            for row in history[live.step :]:
                for name, value in row.items():
                    live.log_metric(name, round(value, 6))
                live.next_step()  # type: ignore[no-untyped-call]
                bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k.endswith("loss")})
                bar.update()

        yield log


if __name__ == "__main__":
    run_stage("train", run)
