"""The walkthrough: its values by hand, the committed page and notebook, and the exercises' outcomes."""

import base64
import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.project import ROOT, default_task, merge, read_params

from stages import prepare
from stages.core.errors import UserError
from stages.core.params import read_yaml
from stages.kinds.image_classification.walkthrough import loop_lines
from stages.kinds.params import check_params, load_tasks
from stages.tools.cli import main
from stages.tools.walkthrough.cells import Cell, Output, execute
from stages.tools.walkthrough.exercises import (
    DIFFICULTIES,
    LEVELS,
    OUTCOMES,
    Workbench,
    apply_exercise,
    read_exercises,
)
from stages.tools.walkthrough.page import make_page

DOCS = ROOT / "docs"
TABLES = DOCS / "workshop"
NUMBER = re.compile(r"-?\d+\.(\d+)")
EXERCISES = read_exercises()


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with params.yaml and the prepared stripes."""
    folder = tmp_path_factory.mktemp("stripes")
    shutil.copy(ROOT / "params.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare.run(default_task("workshop"))
    return folder


@pytest.fixture(scope="module")
def written(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder into which the command has written page, notebook and pictures."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "workshop").mkdir()
    for name in (OUTCOMES, DIFFICULTIES):
        shutil.copy(TABLES / name, folder / "workshop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(stripes)
        with pytest.raises(SystemExit) as stop:
            main(["walkthrough", "workshop", "--out", str(folder)])
    assert stop.value.code == 0
    return folder


@pytest.fixture(scope="module")
def notebook() -> list[dict[str, Any]]:
    """Return the cells of the committed notebook."""
    content = json.loads((DOCS / "workshop.ipynb").read_text(encoding="utf-8"))
    cells: list[dict[str, Any]] = content["cells"]
    return cells


@pytest.fixture(scope="module")
def executed(stripes: Path, notebook: list[dict[str, Any]]) -> tuple[list[Output], dict[str, Any]]:
    """Run the notebook; return the outputs of its code, and the names that it has left behind."""
    code = [
        Cell("".join(cell["source"]), is_code=True)
        for cell in notebook
        if cell["cell_type"] == "code"
    ]
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(stripes)
        patch.setattr("sys.path", list(sys.path))
        return list(execute(code, names)), names


def check_step(names: dict[str, Any]) -> None:
    """Check gradients and step against those computed by hand."""
    probabilities, labels = names["probabilities"].detach(), names["labels"]
    target = torch.nn.functional.one_hot(labels, probabilities.shape[1])
    assert torch.allclose(names["logits"].grad, (probabilities - target) / len(labels), atol=1e-7)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(len(labels)))
    after = names["weights"][names["position"]].item()
    decayed = names["before"] * (1 - names["rate"] * names["group"]["weight_decay"])
    assert after == pytest.approx(decayed - names["rate"] * np.sign(names["gradient"]), abs=1e-7)
    assert names["gradient"] == pytest.approx(names["difference"], rel=1e-2)
    assert names["loss_after"] < -probabilities[range(len(labels)), labels].log().mean()


def test_the_values_are_those_computed_by_hand(
    executed: tuple[list[Output], dict[str, Any]],
) -> None:
    _, names = executed
    check_step(names)
    assert names["images"].shape == (32, 1, 16, 16)
    assert names["losses"][0] == pytest.approx(np.log(3), abs=0.05)
    assert names["first"].item() == pytest.approx(
        -np.log(names["probabilities"][0, names["labels"][0]].item()), abs=1e-6
    )
    assert len(names["losses"]) == 12 * names["run"].steps == 180


def test_the_loop_by_hand_trains_as_the_pipeline_does(
    executed: tuple[list[Output], dict[str, Any]],
) -> None:
    _, names = executed
    log = pd.read_csv(ROOT / "evidence/workshop/data/training_log.csv")
    log = log[log["seed"] == 0]
    epochs = np.reshape(names["losses"], (12, -1)).mean(axis=1)
    assert epochs == pytest.approx(log["train_loss"].to_numpy(), abs=2e-3)
    accuracy = names["scores"]["accuracy"]
    assert accuracy == pytest.approx(log["validation_accuracy"].iloc[-1], abs=0.01)


def test_the_loop_has_six_lines() -> None:
    lines = loop_lines().splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("for group in ")
    assert lines[-1].startswith("optimizer.step()")


def test_a_residual_network_with_label_smoothing_can_be_followed_too(
    stripes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    params = read_params()
    changes = {"model": "residual", "label_smoothing": 0.1, "epochs": 1}
    merge(params["tasks"]["workshop"]["train"], changes)
    shutil.copytree(stripes, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    Path("params.yaml").write_text(json.dumps(params))
    residual = make_page(load_tasks(check_params(params))["workshop"], tmp_path)
    check_step(residual.names)
    assert set(residual.pictures) == {"patch.png"}
    assert "label smoothing of 0.1" in residual.markdown
    assert "exercise" not in residual.markdown.lower()


# What is committed


def assert_alike(text: str, committed: str) -> None:
    """Check that two texts differ in the last digits of numbers only: by 2 of the last one."""
    assert NUMBER.sub("#", text) == NUMBER.sub("#", committed)
    for one, other in zip(NUMBER.finditer(text), NUMBER.finditer(committed), strict=True):
        assert float(one[0]) == pytest.approx(float(other[0]), abs=2.01 * 10 ** -len(one[1]))


def assert_same_picture(png: bytes, committed: bytes) -> None:
    """Check that two pictures differ by 8 of 255 levels, at most."""
    pixels, others = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)
        for data in (png, committed)
    )
    assert pixels.shape == others.shape
    assert abs(pixels - others).max() <= 8


def test_the_committed_page_is_what_the_command_writes(written: Path) -> None:
    page, committed = (
        (folder / "workshop.md").read_text(encoding="utf-8") for folder in (written, DOCS)
    )
    assert_alike(page, committed)


def test_the_committed_pictures_are_those_of_the_cells(written: Path) -> None:
    files, committed = (
        {path.name: path.read_bytes() for path in (folder / "workshop").iterdir()}
        for folder in (written, DOCS)
    )
    assert files.keys() == committed.keys()
    for name, content in files.items():
        if name.endswith(".png"):
            assert_same_picture(content, committed[name])
        else:
            assert content == committed[name]


def test_the_committed_notebook_runs_and_prints_what_it_shows(
    notebook: list[dict[str, Any]], executed: tuple[list[Output], dict[str, Any]]
) -> None:
    cells = [cell for cell in notebook if cell["cell_type"] == "code"]
    for cell, output in zip(cells, executed[0], strict=True):
        text = "".join(
            "".join(part["text"]) for part in cell["outputs"] if part["output_type"] == "stream"
        )
        assert_alike(output.text, text)
        pictures = [part["data"] for part in cell["outputs"] if "data" in part]
        assert len(pictures) == bool(output.picture)
        if output.picture:
            committed = base64.b64decode(pictures[0]["image/png"])
            assert_same_picture(output.picture._repr_png_(), committed)


def test_notebook_and_page_say_the_same(notebook: list[dict[str, Any]]) -> None:
    page = (DOCS / "workshop.md").read_text(encoding="utf-8")
    assert "pin_threads" in "".join(notebook[1]["source"])
    start = 0
    for cell in [*notebook[:1], *notebook[2:]]:  # in the same order
        start = page.index("".join(cell["source"]), start)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sentiment"], "must be one of image, workshop"),
        (["workshop", "--outcomes"], "--outcomes is for --out"),
        (["image", "--outcomes", "--out", "x"], "for a tiny_cnn on stripes"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["walkthrough", *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


# Exercises


def test_there_are_six_exercises_each_with_one_change() -> None:
    assert len(EXERCISES) == 6
    assert len({exercise.name for exercise in EXERCISES}) == 6
    for exercise in EXERCISES:
        assert bool(exercise.param) != bool(exercise.file)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_each_change_applies_to_the_project_as_it_is(exercise: Any, tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    if exercise.file:
        (tmp_path / exercise.file).parent.mkdir(parents=True)
        shutil.copy(ROOT / exercise.file, tmp_path / exercise.file)
    apply_exercise(exercise, default_task("workshop"), tmp_path)
    if exercise.file:
        before, after = (
            (folder / exercise.file).read_text().splitlines() for folder in (ROOT, tmp_path)
        )
        assert len(after) == len(before) - (not exercise.new)
        assert [line for line in before if line not in after] == [exercise.old]
        compile("\n".join(after), exercise.file, "exec")
    else:
        key, _, value = exercise.param.partition("=")
        section = check_params(read_yaml(tmp_path / "params.yaml"))
        task = load_tasks(section)["workshop"]
        part, name = key.split(".")
        assert getattr(getattr(task.params, part), name) == json.loads(value)
        assert task != default_task("workshop")


def test_a_line_that_has_changed_is_an_error_that_names_the_exercise(tmp_path: Path) -> None:
    exercise = next(exercise for exercise in EXERCISES if exercise.file)
    (tmp_path / exercise.file).parent.mkdir(parents=True)
    (tmp_path / exercise.file).write_text("pass\n")
    with pytest.raises(UserError, match=f"{exercise.name}: old: {exercise.file} must have this"):
        apply_exercise(exercise, default_task("workshop"), tmp_path)


def test_the_outcomes_are_those_of_the_present_params() -> None:
    """A row for each exercise; what stands before the change is what the pack says."""
    outcomes = pd.read_csv(TABLES / OUTCOMES)
    assert list(outcomes["exercise"]) == [exercise.name for exercise in EXERCISES]
    data = ROOT / "evidence/workshop/data"
    log = pd.read_csv(data / "training_log.csv")
    log = log[log["seed"] == 0]
    predictions = pd.read_csv(data / "validation_predictions.csv")
    accuracy = (predictions["seed_0"] == predictions["label"]).mean()
    assert outcomes["accuracy_before"].to_numpy() == pytest.approx(accuracy, abs=0.01)
    assert outcomes["loss_before"].to_numpy() == pytest.approx(
        log["validation_loss"].min(), abs=0.01
    )
    assert outcomes["last_before"].to_numpy() == pytest.approx(log["train_loss"].iloc[-1], abs=0.01)
    assert set(outcomes["count"]) == {len(predictions)}
    difficulties = pd.read_csv(TABLES / DIFFICULTIES)
    assert tuple(difficulties["difficulty"]) == LEVELS
    for name in ("linear", "cnn"):
        low, middle, high = (difficulties[f"{name}{suffix}"] for suffix in ("_low", "", "_high"))
        assert (low <= middle).all()
        assert (middle <= high).all()


@pytest.mark.long
def test_the_outcomes_come_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a changed line, of a changed param, and of a difficulty; all take minutes more."""
    monkeypatch.chdir(ROOT)
    workbench = Workbench("workshop", tmp_path)
    names, level = ["zero-grad", "large-rate"], LEVELS[1]
    outcomes = [workbench.outcome(exercise) for exercise in EXERCISES if exercise.name in names]
    committed = pd.read_csv(TABLES / OUTCOMES).set_index("exercise").loc[names].reset_index()
    assert_same_table(pd.DataFrame(outcomes), committed)
    committed = pd.read_csv(TABLES / DIFFICULTIES)
    committed = committed[committed["difficulty"] == level].reset_index(drop=True)
    assert_same_table(pd.DataFrame([workbench.difficulty(level)]), committed)


def assert_same_table(table: pd.DataFrame, committed: pd.DataFrame) -> None:
    """Check that two tables have the same columns, and differ by 0.02 at most."""
    table = table[list(committed.columns)]
    pd.testing.assert_frame_equal(table, committed, atol=0.02, rtol=0, check_dtype=False)
