"""Train: the model, once for each seed; the first seed is the primary one."""

import shutil
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.task import Task
from stages.kinds.entry import run_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stages.training.loop import History, TrainingState


def run(task: Task) -> None:
    """Write each seed's weights and log, the selected epochs, and the diagnostics."""
    from stages.core.files import write_all
    from stages.core.runtime import set_deterministic
    from stages.training.checkpoints import (
        delete_resume_states,
        exclusive_trainer,
        fingerprint,
        resume_folder,
    )
    from stages.training.devices import launch_fabric
    from stages.training.diagnostics import diagnose
    from stages.training.loop import fit

    set_deterministic(task.runtime)
    module = task.module("train")
    fabric = launch_fabric(task.runtime)
    inputs = (*code_files(task.kind), *module.input_files(task))
    run_fingerprint = fingerprint(task.params.train, task.runtime, *inputs)
    folder = task.folder("train")
    results: dict[int, TrainingState] = {}
    diagnostics: list[dict[str, Any]] = []
    with exclusive_trainer(task.name, fabric):
        if fabric.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)  # an earlier run's seeds, where DVC did not
        states = resume_folder(task.name, run_fingerprint)
        training_run = module.training_runs(task, fabric)
        for seed in task.params.train.seeds:
            epochs = task.params.train.epochs if fabric.is_global_zero else 0
            seed_run = training_run(seed)
            with _log(folder / f"log-{seed}", f"{task.name}, seed {seed}", epochs) as log:
                results[seed] = fit(
                    seed_run, fabric, states / f"{seed}.safetensors", log, f"seed {seed}"
                )
            for diagnostic in diagnose(results[seed].history, seed_run.chance_loss):
                diagnostics.append({"seed": seed, **asdict(diagnostic)})
                print(f"train@{task.name}, seed {seed}: {diagnostic}", file=sys.stderr)
        if not fabric.is_global_zero:
            return
        _write_weights(folder, results)
        write_all(folder, {**_tables(results), "diagnostics.json": diagnostics})
        delete_resume_states(task.name)


def code_files(kind: str) -> list[Path]:
    """Return the code on which a training run of a task of `kind` may depend."""
    names = ("core", "datasets", "training", f"kinds/{kind}")
    return sorted(file for name in names for file in Path("stages", name).rglob("*.py"))


def _write_weights(folder: Path, results: "Mapping[int, TrainingState]") -> None:
    """Write each seed's weights: those selected, or those of each checkpoint to be reviewed."""
    from stages.training.weights import write_weights

    for seed, state in results.items():
        for epoch, weights in state.checkpoints.items():
            write_weights(folder / f"weights-{seed}-epoch-{epoch}.safetensors", weights)
        if not state.checkpoints:
            write_weights(folder / f"weights-{seed}.safetensors", state.weights)


def _tables(results: "Mapping[int, TrainingState]") -> dict[str, Any]:
    """Return the log of all seeds, and the rule by which epochs were selected."""
    import pandas as pd

    rows = [
        {"seed": seed, **row, "epoch": int(row["epoch"])}
        for seed, state in results.items()
        for row in state.history
    ]
    first = next(iter(results.values()))
    checkpoints: dict[str, Any] = {
        "rule": "lowest validation loss, the first of equals",
        "epoch": {str(seed): state.best_epoch for seed, state in results.items()},
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
    """
    if not epochs:
        yield lambda _: None
        return
    from dvclive.live import Live
    from tqdm import tqdm

    live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
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
