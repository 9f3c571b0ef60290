"""Train: the model, once for each seed; the first seed's model is the headline."""

import shutil
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.shared.task import Task, enter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stages.shared.training import History, Trained


def run(task: Task) -> None:
    """Write each seed's weights and log, and the machine."""
    import pandas as pd

    from stages.shared.files import write_all
    from stages.shared.runtime import device_name, hold_torch, machine
    from stages.shared.training import (
        fingerprint,
        fit,
        forget,
        launched,
        only_trainer,
        resume_folder,
    )
    from stages.shared.troubles import troubles
    from stages.shared.weights import write_weights

    hold_torch(task.runtime)
    cell = task.cell("train")
    fabric = launched(task.runtime)
    seeds: list[int] = task.params.train.seeds
    mark = fingerprint(task.params.train, task.runtime, *code(task.name), *cell.inputs(task))
    folder = task.folder("train")
    results: list[Trained] = []
    with only_trainer(task.name, fabric):
        if fabric.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)  # an earlier run's seeds, where DVC did not
        states = resume_folder(task.name, mark)
        job = cell.jobs(task, fabric)
        named: list[dict[str, Any]] = []
        for seed in seeds:
            epochs = task.params.train.epochs if fabric.is_global_zero else 0
            with _log(folder / f"log-{seed}", f"{task.name}, seed {seed}", epochs) as log:
                state = states / f"{seed}.safetensors"
                run_of = job(seed)
                results.append(fit(run_of, fabric, state, log))
            for one in troubles(results[-1].history, run_of.chance):
                named.append({"seed": seed, **asdict(one)})
                print(f"train@{task.name}, seed {seed}: {one}", file=sys.stderr)
        if not fabric.is_global_zero:
            return
        for seed, trained in zip(seeds, results, strict=True):
            for epoch, weights in trained.reviewed.items():
                write_weights(folder / f"weights-{seed}-epoch-{epoch}.safetensors", weights)
            if not trained.reviewed:  # otherwise the review chooses
                write_weights(folder / f"weights-{seed}.safetensors", trained.weights)
        rows = [
            {"seed": seed, **row, "epoch": int(row["epoch"])}
            for seed, trained in zip(seeds, results, strict=True)
            for row in trained.history
        ]
        chosen: dict[str, Any] = {
            "rule": "lowest validation loss, the first of equals",
            "epoch": {str(s): t.chosen_epoch for s, t in zip(seeds, results, strict=True)},
        }
        if results[0].reviewed:
            chosen = {
                "rule": "none here: the checkpoints kept are reviewed in the stage evaluate",
                "kept_epochs": sorted(results[0].reviewed),
            }
        write_all(
            folder,
            {
                "log.csv": pd.DataFrame(rows),
                "chosen.json": chosen,
                "troubles.json": named,
                "machine.json": machine(task.runtime, device_name(fabric.device)),
            },
        )
        forget(task.name)


def code(task: str) -> list[Path]:
    """Return the files of code on which a run of `task` may depend."""
    folders = (Path("stages/shared"), Path("stages/tasks", task))
    return sorted(file for folder in folders for file in folder.rglob("*.py"))


@contextmanager
def _log(folder: Path, title: str, epochs: int) -> "Iterator[Callable[[History], None]]":
    """Yield what takes the history after each epoch, to a progress bar and DVCLive's files.

    After a resume it is given the epochs before as well and writes them again, so that the log of
    a killed run ends in the same bytes. Without epochs (a process that is not the first) it drops
    all.
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
    enter("train", run)
