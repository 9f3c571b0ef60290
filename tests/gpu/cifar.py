"""CIFAR-10 on a GPU: the project's recipe, torchvision's resnet18 and airbench, with the same pixels."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from support.project import run

from gpu.chains import copy_project, gpu_record
from gpu.steps import measure_steps, working_in
from stages.core.processes import run_command
from stages.core.runtime import torch_device
from stages.core.task import Task
from stages.datasets.dataset import SPLITS, read_dataset
from stages.datasets.images.packed import open_packed
from stages.training.devices import launch_fabric
from stages.training.image_networks import predict_batches
from stages.training.loop import History, fit

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TASK = "cifar"
AIRBENCH = {
    "what": "its package 0.1.8, `train94()`, not compiled",
    "sha256": "f85885d8afe9018b8da132a4224ad7b47d75c9f99fd985d0a687567a25cf4a33",
}
_AIRBENCH = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
import airbench
airbench.warmup94()
for run in range(int(sys.argv[2])):
    torch.manual_seed(run)
    airbench.train94(run=run)
"""
_WIDE = {"channels": [64, 128, 256, 512], "blocks": [0, 1, 1, 1]}
_DEEP = {**_WIDE, "blocks": [1, 1, 1, 1]}
_BATCHES_512 = {"batch_size": 512, "learning_rate": 0.8}
_BATCHES_1024 = {"batch_size": 1024, "learning_rate": 1.6}
# What validation data choose from: names, with the params of the stage train that differ from the proposal.
# `bf16` stands for `runtime.precision: bf16-mixed`.
CANDIDATES: dict[str, Mapping[str, Any]] = {
    "proposal": {},
    "wide, batches of 1024, bf16": {**_WIDE, **_BATCHES_1024},
    "wide, batches of 512, bf16": {**_WIDE, **_BATCHES_512},
    "deep, batches of 1024, bf16": {**_DEEP, **_BATCHES_1024},
    "deep, batches of 512, bf16": {**_DEEP, **_BATCHES_512},
    "deep, batches of 1024, 25 epochs, bf16": {**_DEEP, **_BATCHES_1024, "epochs": 25},
    "deep, batches of 1024, 30 epochs, bf16": {**_DEEP, **_BATCHES_1024, "epochs": 30},
}
RESNET18 = "resnet18"

Row = dict[str, Any]


def make_project(folder: Path, data: Path, device: str) -> Path:
    """Copy the project, add the task that `evidence new` proposes for the images, and prepare it.

    Args:
        folder: to make.
        data: holds `train` and `test`, each with a folder of images for each class.
        device: as in `runtime.device`; the proposal times a few steps on it.
    """
    project = copy_project(folder, {"device": device})
    path = f"data/raw/{TASK}"
    shutil.copytree(data, project / path)
    run(project, "git", "init", "--quiet")  # `evidence new` asks git which data it tracks
    commands = [
        ("stages.tools", "new", TASK, path, "--layout", "splits", "--no-track", "--yes"),
        ("stages.prepare", TASK),
    ]
    for command in commands:
        start = time.perf_counter()
        done = run_command(project, "python", "-m", *command)
        print(f"{' '.join(command)}: {time.perf_counter() - start:.1f} s", flush=True)
        print(done.stdout, flush=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr[-3000:]}")
    return project


def with_train(task: Task, changes: Mapping[str, Any]) -> Task:
    """Return a task with other params of the stage train."""
    train = type(task.params.train).model_validate({**task.params.train.model_dump(), **changes})
    return replace(task, params=task.params.model_copy(update={"train": train}))


def launch(task: Task, precision: str) -> "Fabric":
    """Return Fabric, launched, with a `runtime.precision`."""
    return launch_fabric(task.runtime.model_copy(update={"precision": precision}))


class Clock:
    """Seconds of training after each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start = 0.0

    def __call__(self, history: History) -> None:
        """Start at the first call, which comes before the first epoch; then note an epoch's end."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if not history:
            self._start = time.perf_counter()
        else:
            self.seconds.append(round(time.perf_counter() - self._start, 3))


def train(task: Task, seed: int, precision: str = "32-true", *, test: bool = False) -> Row:
    """Train, after a warm-up of a few steps; return accuracies and seconds by epoch.

    Seconds include validation after each epoch, and the prediction of the test images, if any.

    Args:
        task: prepared, in the current folder.
        seed: of training.
        precision: as in `runtime.precision`.
        test: whether to predict the test images too.
    """
    fabric = launch(task, precision)
    training_run = task.module("train").training_runs(task, fabric)
    for epoch in (0, task.params.train.epochs - 1):  # the first may be of smaller images
        warm_up = training_run(seed)
        batches = _first_batches(warm_up.batches, epoch)
        fit(replace(warm_up, batches=batches, epochs=1), fabric)
    clock = Clock()
    training = training_run(seed)
    state = fit(training, fabric, on_epoch=clock)
    row: Row = {
        "seed": seed,
        "precision": precision,
        "epochs": training.epochs,
        "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
        "seconds_by_epoch": clock.seconds,
        "validation_by_epoch": [round(r["validation_accuracy"], 4) for r in state.history],
        "seconds": clock.seconds[-1],
        "validation": round(state.history[state.best_epoch]["validation_accuracy"], 4),
    }
    if test:
        start = time.perf_counter()
        training.model.load_state_dict(state.weights)
        row["test"] = round(accuracy_on_test(task, training.model.eval()), 4)
        row["seconds"] = round(row["seconds"] + time.perf_counter() - start, 3)
    return row


def _first_batches(
    batches: Callable[[int], Any], epoch: int, steps: int = 3
) -> Callable[[int], Any]:
    return lambda _: islice(batches(epoch), steps)


def accuracy_on_test(task: Task, model: torch.nn.Module) -> float:
    """Return the accuracy on the test images."""
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    device = torch_device(task.runtime)
    logits = predict_batches(model, images, dataset.rows("test"), device)
    return float((logits.argmax(axis=1) == dataset.labels("test")).mean())


def write_airbench_data(task: Task, folder: Path, train: Sequence[str], test: str) -> Path:
    """Write the pixels as airbench reads them; return the folder.

    Args:
        task: prepared, in the current folder.
        folder: to make.
        train: the splits that are trained on.
        test: the split that is predicted.
    """
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    (folder / "cifar10").mkdir(parents=True, exist_ok=True)
    for name, splits in (("train", train), ("test", (test,))):
        rows = np.concatenate([dataset.rows(split) for split in splits])
        labels = np.concatenate([dataset.labels(split) for split in splits])
        pixels = torch.from_numpy(np.ascontiguousarray(images[rows].transpose(0, 2, 3, 1)))
        content = {"images": pixels, "labels": torch.from_numpy(labels).long()}
        torch.save({**content, "classes": list(dataset.classes)}, folder / f"cifar10/{name}.pt")
    return folder


def run_airbench(package: Path, folder: Path, runs: int) -> list[Row]:
    """Run airbench's own training in a folder that holds its data; return its runs.

    Args:
        package: the folder that holds the package `airbench`.
        folder: with `cifar10/train.pt` and `cifar10/test.pt`.
        runs: how many, after its own warm-up.
    """
    done = subprocess.run(
        [sys.executable, "-c", _AIRBENCH, str(package.resolve()), str(runs)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"airbench: {done.stderr[-3000:]}")
    return read_airbench(done.stdout)


def read_airbench(table: str) -> list[Row]:
    """Return the runs in the table that airbench prints."""
    runs: list[Row] = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 7 or not re.fullmatch(r"\d+|eval", cells[1]):
            continue
        if re.fullmatch(r"\d+", cells[0]):
            runs.append({"seed": int(cells[0]), "test_by_epoch": [], "seconds_by_epoch": []})
        if cells[1] == "eval":
            runs[-1] |= {"test": float(cells[5]), "seconds": float(cells[6])}
        elif runs:
            runs[-1]["test_by_epoch"].append(float(cells[4]))
            runs[-1]["seconds_by_epoch"].append(float(cells[6]))
    return runs


def precision_of(candidate: str) -> str:
    """Return a candidate's `runtime.precision`."""
    return "bf16-mixed" if candidate.endswith("bf16") else "32-true"


def train_candidate(task: Task, name: str, seed: int = 0) -> Row:
    """Train a candidate; no test image is looked at."""
    row = train(with_train(task, CANDIDATES[name]), seed, precision_of(name))
    print(name, row["validation"], row["seconds"], flush=True)
    return {"candidate": name, **row}


def choose(rows: Sequence[Row], target: float) -> str:
    """Return the fastest candidate whose validation accuracy reaches the target; else the best one."""
    enough = [row for row in rows if row["validation"] >= target]
    if enough:
        return str(min(enough, key=lambda row: float(row["seconds"]))["candidate"])
    return str(max(rows, key=lambda row: float(row["validation"]))["candidate"])


def compare(project: Path, package: Path, seeds: int, save: Callable[[Row], None]) -> None:
    """Run airbench, the candidates, then the chosen one and others, each alone on the GPU.

    The fastest candidate is chosen whose validation accuracy reaches that of airbench, when airbench has
    been trained on the same images. Test images are predicted only afterwards.

    Args:
        project: prepared.
        package: the folder that holds the package `airbench`.
        seeds: how many runs of each on test images, of resnet18 one.
        save: called with the result so far, after each step.
    """
    with working_in(project) as tasks:
        task, dataset = tasks[TASK], read_dataset(tasks[TASK])
        result: Row = {
            "machine": gpu_record(),
            "samples": {split: len(dataset.rows(split)) for split in SPLITS},
            "proposal": task.params.train.model_dump(mode="json"),
            "changes": {name: dict(changes) for name, changes in CANDIDATES.items()},
            "airbench": AIRBENCH,
        }
        parts = {"validation": ("train",), "test": ("train", "validation")}
        for split, trained_on in parts.items():
            folder = write_airbench_data(task, Path("airbench", split), trained_on, split)
            runs = run_airbench(package, folder, seeds)
            result[f"airbench_{split}"] = runs
            print("airbench", split, *((run["test"], run["seconds"]) for run in runs), flush=True)
        result["target"] = mean(run["test"] for run in result["airbench_validation"])
        result["candidates"] = []
        for name in CANDIDATES:
            result["candidates"].append(train_candidate(task, name))
            save(result)
        chosen = result["chosen"] = choose(result["candidates"], result["target"])
        best = result["best"] = choose(result["candidates"], 1.0)
        result["measured"] = {}
        for name in dict.fromkeys((chosen, "proposal", RESNET18, best)):
            network = with_train(task, CANDIDATES.get(name, {"model": RESNET18, "blocks": None}))
            rows = result["measured"][name] = []
            for seed in range(1 if name == RESNET18 else seeds):
                rows.append(train(network, seed, precision_of(name), test=True))
                print(name, rows[-1]["test"], rows[-1]["seconds"], flush=True)
                save(result)
        result["steps"] = {
            name: measure_steps(
                with_train(task, CANDIDATES[name]), launch(task, precision_of(name))
            )
            for name in dict.fromkeys(("proposal", chosen))
        }
        save(result)
