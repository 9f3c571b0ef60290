"""The workshop: stripes as drawn, the tour of the loop, and troubles that are named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, change_params, copied, refused, run
from hypothesis import given
from hypothesis import strategies as st

from stages.params import load
from stages.shared.task import tasks
from stages.shared.troubles import troubles
from stages.tasks.workshop.stripes import DIRECTIONS, stripes
from stages.tasks.workshop.tour import followed

LN3 = float(np.log(3))


def drawn(direction: str, difficulty: float, seed: int = 0, size: int = 16) -> np.ndarray:
    random = np.random.default_rng(seed)
    image: np.ndarray = stripes(DIRECTIONS[direction], size, difficulty, random)[0]
    return image


def test_without_difficulty_stripes_run_as_they_are_called() -> None:
    vertical, horizontal, diagonal = (
        drawn(name, 0.0).astype(int) for name in ("vertical", "horizontal", "diagonal")
    )
    # A grey of 127.5 is rounded either way.
    assert abs(vertical - vertical[0]).max() <= 1
    assert abs(horizontal - horizontal[:, :1]).max() <= 1
    assert abs(vertical.T - horizontal).max() <= 1
    assert abs(diagonal[1:, :-1] - diagonal[:-1, 1:]).max() <= 1  # along what rises to the right
    assert len(np.unique(vertical)) > 1


@given(st.sampled_from(list(DIRECTIONS)), st.floats(0, 1), st.integers(0, 99), st.integers(8, 40))
def test_stripes_follow_from_their_seed(name: str, hard: float, seed: int, size: int) -> None:
    image = drawn(name, hard, seed, size)
    assert image.shape == (size, size)
    assert image.dtype == np.uint8
    assert (image == drawn(name, hard, seed, size)).all()


@pytest.fixture(scope="module")
def prepared_stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = copied(tmp_path_factory.mktemp("stripes"))
    run(where, "python", "-m", "stages.params")
    run(where, "python", "-m", "stages.prepare", "workshop")
    return where


def test_the_tour_holds_what_can_be_computed_by_hand(
    prepared_stripes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared_stripes)
    values = followed(tasks(load())["workshop"])
    assert values["image_shape"] == (32, 1, 16, 16)
    assert [line["output_shape"] for line in values["layers"]][-1] == "(32, 3)"
    assert values["loss"] == pytest.approx(LN3, abs=0.05)
    assert sum(values["probabilities"]) == pytest.approx(1)
    assert values["logit_gradient"] == pytest.approx(values["logit_gradient_by_hand"], abs=1e-7)
    assert values["gradient"] == pytest.approx(values["gradient_by_hand"], rel=2e-3)
    assert values["after"] == pytest.approx(values["after_by_hand"], abs=1e-7)
    assert (values["after"] - values["before"]) * values["gradient"] < 0
    assert values["loss_after"] < values["loss"]


def test_the_page_of_the_tour_is_what_the_command_prints(prepared_stripes: Path) -> None:
    said = run(prepared_stripes, "python", "-m", "stages.tour").stdout
    written = (ROOT / "docs/workshop.md").read_text()
    number = re.compile(r"-?\d+\.\d+(?:e-\d+)?")
    assert number.sub("#", said) == number.sub("#", written)
    figures = [[float(one) for one in number.findall(text)] for text in (said, written)]
    assert figures[0] == pytest.approx(figures[1], abs=2e-4)


def history(train: list[float], held: list[float], **more: float) -> list[dict[str, float]]:
    return [
        {"train_loss": one, "validation_loss": other, **more}
        for one, other in zip(train, held, strict=True)
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
        (history([1.0, 0.8, 0.2, 0.2, 0.2, 0.2], [0.4] * 6), LN3, []),  # learnt: nothing to name
    ],
)
def test_troubles_are_named(
    rows: list[dict[str, float]], chance: float | None, names: list[str]
) -> None:
    found = troubles(rows, chance)
    assert [one.name for one in found] == names
    assert all(re.search(r"\d", one.saw) and one.try_first for one in found)


def test_a_loss_that_does_not_fall_is_named_with_its_figure(prepared_stripes: Path) -> None:
    slow = {"learning_rate": 1e-9, "epochs": 2, "seeds": [0]}
    change_params(prepared_stripes, lambda params: params["workshop"]["train"].update(slow))
    done = run(prepared_stripes, "python", "-m", "stages.train", "workshop")
    assert "train@workshop, seed 0: no loss decrease: the training loss is 1.0" in done.stderr
    written = json.loads((prepared_stripes / "data/train/workshop/troubles.json").read_text())
    assert [(one["seed"], one["name"]) for one in written] == [(0, "no loss decrease")]
    run(prepared_stripes, "git", "checkout", "--quiet", "params.yaml")


@pytest.mark.parametrize(
    ("stage", "values", "line"),
    [
        ("prepare", {"per_class": 5}, "per_class (given 5) must be at least min_per_class (10)"),
        ("prepare", {"difficulty": 1.5}, "workshop.prepare.difficulty: given 1.5"),
        ("train", {"channels": [8] * 6}, "prepare.size (given 16) must be at least 32"),
    ],
)
def test_params_that_cannot_be_drawn_are_refused(
    prepared_stripes: Path, stage: str, values: dict[str, object], line: str
) -> None:
    change_params(prepared_stripes, lambda params: params["workshop"][stage].update(values))
    assert line in refused(prepared_stripes, "python", "-m", "stages.prepare", "workshop")
    run(prepared_stripes, "git", "checkout", "--quiet", "params.yaml")
