"""A class of 40 images beside one of 900: what is measured, what is diagnosed, and what helps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pages import page_text
from support.project import merge, read_params
from support.stages import run_stages

from stages.core.files import read_csv
from stages.core.task import Task
from stages.kinds.params import check_params, load_tasks

pytestmark = pytest.mark.long

STAGES = ("prepare", "check", "baseline", "train", "evaluate", "failures", "pack")


def write_images(folder: Path) -> Path:
    """Write noise of 8 x 8 pixels: 900 images of `usual`, and 40 of `rare`, a little brighter."""
    random = np.random.default_rng(0)
    for name, count, brightness in (("usual", 900, 110), ("rare", 40, 122)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = random.normal(brightness, 60, (8, 8)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:03}.png")
    return folder


def lamps(folder: Path, changes: dict[str, Any]) -> Task:
    """Return a task of the images in `folder` with a small network, and changed params."""
    params = read_params()
    task = params["tasks"]["image"]
    merge(
        task,
        {
            "prepare": {"source": "folder", "path": str(folder)},
            "train": {"model": "tiny_cnn", "channels": [8], "epochs": 10, "augment": None},
            "evaluate": {"metric": "balanced_accuracy", "resamples": 1000},
        },
    )
    task["train"] |= {"seeds": [0], "learning_rate": 0.03, "batch_size": 32}
    merge(task, changes)
    params["tasks"] = {"lamps": task}
    return load_tasks(check_params(params))["lamps"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Task]]:
    """Return the folders in which the task has run, without and with balanced classes."""
    images = write_images(tmp_path_factory.mktemp("images") / "lamps")
    done = {}
    for rule in (None, "balanced"):
        folder = tmp_path_factory.mktemp("run")
        task = lamps(images, {"train": {"class_weights": rule}})
        run_stages(folder, task, STAGES)
        done[str(rule)] = (folder, task)
    return done


def read(run: tuple[Path, Task], stage: str, name: str) -> Any:
    folder, task = run
    return json.loads((folder / "data" / stage / task.name / name).read_text())


def test_a_class_that_is_never_predicted_is_named_and_decides_the_next_step(
    runs: dict[str, tuple[Path, Task]],
) -> None:
    metrics = read(runs["None"], "evaluate", "metrics.json")
    assert metrics["current"]["accuracy"] > 0.9
    assert metrics["current"]["balanced_accuracy"] == 0.5
    names = [row["name"] for row in read(runs["None"], "evaluate", "data_warnings.json")]
    assert "never predicts class rare" in names
    step = read(runs["None"], "failures", "next_step.json")
    assert step["change"] == {"tasks.lamps.train.class_weights": "balanced"}
    assert step["diagnosis"] == "never predicts"
    assert step["command"] == "dvc exp run -S 'tasks.lamps.train.class_weights=balanced'"


def test_balanced_weights_find_the_rare_class(runs: dict[str, tuple[Path, Task]]) -> None:
    folder, _ = runs["balanced"]
    metrics = read(runs["balanced"], "evaluate", "metrics.json")
    assert metrics["current"]["balanced_accuracy"] > 0.65
    low, high = (metrics["current"][f"balanced_accuracy_{end}"] for end in ("low", "high"))
    assert low < metrics["current"]["balanced_accuracy"] < high
    warnings = read(runs["balanced"], "evaluate", "data_warnings.json")
    assert not any(row["name"].startswith("never predicts") for row in warnings)
    # The validation loss that selects the epoch weighs the classes as the training loss does.
    log = read_csv(folder / "data/train/lamps/log.csv")
    assert 0.3 < log["validation_loss"].min() < np.log(2)


def test_the_metric_is_the_figure_of_the_page_and_chooses_the_baseline(
    runs: dict[str, tuple[Path, Task]],
) -> None:
    folder, _ = runs["balanced"]
    baseline = read(runs["balanced"], "baseline", "baseline.json")
    best = max(scores["balanced_accuracy"] for scores in baseline["validation"].values())
    assert baseline["validation"][baseline["strongest"]]["balanced_accuracy"] == best
    improvement = read(runs["balanced"], "evaluate", "metrics.json")["current"]["improvement"]
    assert improvement["metric"] == "balanced_accuracy"
    page = page_text(folder / "evidence/lamps")
    assert "points of balanced accuracy over" in page
    assert "Test balanced accuracy" in page
    assert "permutation test: p" in page


def test_the_figures_are_recomputed_from_the_pack(
    runs: dict[str, tuple[Path, Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.datasets.dataset import read_dataset

    folder, task = runs["balanced"]
    monkeypatch.chdir(folder)
    recomputed = task.module("recompute").recompute(task, read_dataset(task))
    stored = read(runs["balanced"], "evaluate", "metrics.json")
    for section in ("current", "baseline"):
        for key, value in stored[section].items():
            if isinstance(value, float):
                assert recomputed.metrics[section][key] == pytest.approx(value, abs=1e-6)
    gain = recomputed.metrics["current"]["improvement"]
    for key, value in stored["current"]["improvement"].items():
        assert gain[key] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value)
