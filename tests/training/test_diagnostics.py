"""Problems of a training run that the stage train names."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.project import ROOT, merge, read_params

from stages import prepare, train
from stages.kinds.params import check_params, load_tasks
from stages.training.diagnostics import diagnose

LN3, LN10 = float(np.log(3)), float(np.log(10))


def history(
    train_loss: list[float], validation_loss: list[float], **extra: float
) -> list[dict[str, float]]:
    return [
        {"train_loss": first, "validation_loss": second, **extra}
        for first, second in zip(train_loss, validation_loss, strict=True)
    ]


@pytest.mark.parametrize(
    ("rows", "chance", "names"),
    [
        (history([1.0, 0.5, 0.3], [0.9, 0.5, 0.4]), LN3, []),
        (history([1.2, 1.1, 1.09], [1.1, 1.1, 1.1]), LN3, ["no loss decrease"]),
        (history([1.0, 0.99, 0.98], [1.0, 1.0, 1.0]), None, ["no loss decrease"]),
        (history([1.0, 0.5, 0.1], [0.9, 0.6, 0.8]), LN3, ["overfitting"]),
        (
            history([0.9, 0.1], [0.9, 0.8], train_accuracy=0.99, validation_accuracy=0.7),
            LN3,
            ["overfitting"],
        ),
        (history([1.0, 0.8, 0.8, 0.8, 0.8, 0.8], [0.9] * 6), LN3, ["plateau"]),
        (history([1.0, 0.8, 0.2, 0.2, 0.2, 0.2], [0.4] * 6), LN3, []),  # flat, but already low
    ],
)
def test_problems_are_named_with_figures_and_a_remedy(
    rows: list[dict[str, float]], chance: float | None, names: list[str]
) -> None:
    diagnostics = diagnose(rows, chance)
    assert [diagnostic.name for diagnostic in diagnostics] == names
    assert all(re.search(r"\d", entry.observed) and entry.remedy for entry in diagnostics)


def classifier(
    train_loss: list[float], train_accuracy: float, validation_accuracy: float
) -> list[dict[str, float]]:
    """Return a history whose accuracies are those of its end."""
    accuracies = {"train_accuracy": train_accuracy, "validation_accuracy": validation_accuracy}
    return history(train_loss, [1.5] * len(train_loss), **accuracies)


FALLING, LEVEL = [2.2, 1.9, 1.8, 1.7, 1.6, 1.5], [2.2, 1.8, 1.7, 1.68, 1.66, 1.65]


@pytest.mark.parametrize(
    ("rows", "chance", "names"),
    [
        (classifier(FALLING, 0.55, 0.5), LN10, ["undertrained"]),
        (classifier(LEVEL, 0.55, 0.5), LN10, ["underfitting"]),
        # Of ten classes, 0.63 is 59% of what lies above chance, and 0.65 is 61%.
        (classifier(LEVEL, 0.63, 0.6), LN10, ["underfitting"]),
        (classifier(LEVEL, 0.65, 0.6), LN10, []),
        # Augmentation and dropout lower the accuracy on training data alone.
        (classifier(LEVEL, 0.5, 0.65), LN10, []),
        # Of three classes, more is chance: 0.7 is 55%.
        (classifier([1.1, 0.62, 0.6, 0.59], 0.7, 0.7), LN3, ["underfitting"]),
        # A model that learns its training data by heart needs no larger one.
        (classifier(FALLING, 0.55, 0.3), LN10, ["overfitting"]),
        (classifier([2.0], 0.4, 0.4), LN10, ["undertrained"]),
        # The loss is above 95% of that of chance: at an accuracy of chance nothing is learnt, at
        # 0.3 of ten classes, 22% of what lies above chance, something is.
        (classifier([2.3, 2.29, 2.28], 0.11, 0.1), LN10, ["no loss decrease"]),
        (classifier([2.3, 2.29, 2.28], 0.3, 0.28), LN10, ["underfitting"]),
        # Underfitting says more than the plateau that comes with it.
        (classifier([2.2] + [1.7] * 7, 0.4, 0.4), LN10, ["underfitting"]),
    ],
)
def test_underfitting_is_told_from_too_few_epochs(
    rows: list[dict[str, float]], chance: float, names: list[str]
) -> None:
    assert [diagnostic.name for diagnostic in diagnose(rows, chance)] == names


@pytest.mark.parametrize("task", ["image", "sentiment", "workshop", "generative"])
def test_the_committed_runs_raise_no_false_alarm(task: str) -> None:
    log = pd.read_csv(ROOT / "evidence" / task / "data" / "training_log.csv")
    classes = len(read_note(task)["classes"])
    chance = None if task == "generative" else float(np.log(classes))
    for _, rows in log.groupby("seed"):
        assert diagnose(rows.to_dict("records"), chance) == []  # type: ignore[arg-type]


def read_note(task: str) -> dict[str, list[str]]:
    path = ROOT / "evidence" / task / "data" / "dataset_note.json"
    note: dict[str, list[str]] = json.loads(path.read_text())
    return note


def test_a_network_that_is_too_small_for_its_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A single 3x3 filter cannot tell three directions of stripes."""
    monkeypatch.chdir(tmp_path)
    params = read_params()
    small = {"channels": [1], "epochs": 8, "seeds": [0]}
    stripes = {"per_class": 100, "difficulty": 0.3}
    merge(params["tasks"]["workshop"], {"prepare": {"stripes": stripes}, "train": small})
    task = load_tasks(check_params(params))["workshop"]
    prepare.run(task)
    train.run(task)
    assert "train@workshop, seed 0: underfitting: " in capsys.readouterr().err


def test_training_reports_a_loss_that_does_not_fall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    params = read_params()
    slow = {"learning_rate": 1e-9, "epochs": 2, "seeds": [0]}
    merge(params["tasks"]["workshop"], {"prepare": {"stripes": {"per_class": 40}}, "train": slow})
    task = load_tasks(check_params(params))["workshop"]
    prepare.run(task)
    train.run(task)
    line = "train@workshop, seed 0: no loss decrease: the training loss is 1.0"
    assert line in capsys.readouterr().err
    diagnostics = json.loads(Path("data/train/workshop/diagnostics.json").read_text())
    assert [(entry["seed"], entry["name"]) for entry in diagnostics] == [(0, "no loss decrease")]
