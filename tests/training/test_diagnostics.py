"""Problems of a training run that the stage train names."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.project import merge, read_params

from stages import prepare, train
from stages.kinds.params import check_params, load_tasks
from stages.training.diagnostics import diagnose

LN3 = float(np.log(3))


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
