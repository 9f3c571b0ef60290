"""The walkthrough of the first training step: its values, and the page that shows them."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.project import ROOT, default_task, merge, read_params

from stages import prepare
from stages.kinds.image_classification.walkthrough import walkthrough_values
from stages.kinds.params import check_params, load_tasks
from stages.tools.cli import main

NUMBER = re.compile(r"-?\d+\.\d+(?:e-\d+)?")


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with params.yaml and the prepared stripes."""
    folder = tmp_path_factory.mktemp("stripes")
    shutil.copy(ROOT / "params.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare.run(default_task("workshop"))
    return folder


def check_values(values: dict[str, Any]) -> None:
    """Check gradients and step against those computed by hand."""
    assert sum(values["probabilities"]) == pytest.approx(1)
    assert values["logit_gradient"] == pytest.approx(values["logit_gradient_by_hand"], abs=1e-7)
    assert values["after"] == pytest.approx(values["after_by_hand"], abs=1e-7)
    assert (values["after"] - values["before"]) * values["gradient"] < 0
    assert values["loss_after"] < values["loss"]


def test_the_values_are_those_computed_by_hand(
    stripes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stripes)
    values = walkthrough_values(default_task("workshop"))
    check_values(values)
    assert values["image_shape"] == (32, 1, 16, 16)
    assert values["layers"][-1]["output_shape"] == "(32, 3)"
    assert values["loss"] == pytest.approx(np.log(3), abs=0.05)
    assert values["first_loss"] == pytest.approx(-np.log(values["probabilities"][2]), abs=1e-6)
    assert values["gradient"] == pytest.approx(values["gradient_by_hand"], rel=2e-3)


def test_a_residual_network_with_label_smoothing_can_be_followed_too(
    stripes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stripes)
    params = read_params()
    merge(params["tasks"]["workshop"]["train"], {"model": "residual", "label_smoothing": 0.1})
    check_values(walkthrough_values(load_tasks(check_params(params))["workshop"]))


def test_the_committed_page_is_the_output_of_the_command(
    stripes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(stripes)
    with pytest.raises(SystemExit) as stop:
        main(["walkthrough", "workshop"])
    assert stop.value.code == 0
    printed, committed = capsys.readouterr().out, (ROOT / "docs/workshop.md").read_text()
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", committed)
    figures = [[float(number) for number in NUMBER.findall(text)] for text in (printed, committed)]
    assert figures[0] == pytest.approx(figures[1], abs=2e-4)


def test_a_kind_without_a_walkthrough_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["walkthrough", "sentiment"])
    assert stop.value.code == 2
    assert "must be one of image, workshop" in capsys.readouterr().err
