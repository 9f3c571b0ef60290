"""A submission's model on other data: scores, claims there, and what is refused."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.images import make_folder
from support.project import change_params, new_project
from support.texts import to_csv_text

from stages.core.errors import UserError
from stages.core.files import write, write_all
from stages.core.task import Task
from stages.datasets.dataset import read_dataset
from stages.datasets.images.packed import open_packed
from stages.evaluation.significance import proportion_interval
from stages.kinds.params import load_params, load_tasks
from stages.tools.verify.conditions.claim import parse_claim
from stages.tools.verify.conditions.condition import Outcome
from stages.tools.verify.conditions.other_data import (
    OtherData,
    OtherScores,
    evaluate_other_data,
    parse_other_data,
    score_other_data,
)
from stages.training.weights import trainable_state, write_weights

SPLIT = {"test": 0.3, "validation": 0.15, "seed": 0}
SCRATCH = {"layers": 1, "width": 16, "heads": 2}


def _change(params: dict[str, Any]) -> None:
    image, sentiment = params["tasks"]["image"], params["tasks"]["sentiment"]
    image["prepare"] |= {"source": "folder", "path": "data/raw/photos", "split": SPLIT}
    image["prepare"]["group_pattern"] = r"(\d+)\.png"
    image["train"] |= {"model": "tiny_cnn", "channels": [4], "blocks": None, "augment": None}
    columns: dict[str, Any] = {
        "text": "words",
        "label": "label",
        "id": "id",
        "group": None,
        "slices": [],
    }
    sentiment["prepare"] |= {"source": "csv", "path": "data/raw/texts.csv", "classes": ["a", "b"]}
    sentiment["prepare"] |= {"columns": columns, "near_duplicate": 1.0}
    sentiment["train"] |= {"model": "scratch", "scratch": SCRATCH}
    sentiment["baseline"] |= {"keywords": None}
    sentiment["evaluate"]["bucket_by"] = None


def _write_evidence(task: Task) -> None:
    dataset = read_dataset(task)
    write(task.evidence / "data/dataset_note.json", dataset.note)
    scores = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    write(task.evidence / "data/metrics.json", {"current": scores})


def _weights(task: Task, model: Any, seed: int) -> None:
    write_weights(task.folder("train") / f"weights-{seed}.safetensors", trainable_state(model))


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a submission with prepared data, evidence and weights of two models as they begin."""
    from stages.kinds.image_classification import model as images
    from stages.kinds.text_classification import model as texts

    root = tmp_path_factory.mktemp("submission") / "project"
    root.mkdir()
    new_project(root)
    make_folder(root / "data/raw/photos", count=12)
    rows = [[f"r{n}", f"text number {n} of its kind", "ab"[n % 2]] for n in range(24)]
    (root / "data/raw/texts.csv").write_text(
        to_csv_text([["id", "words", "label"], *rows]), newline=""
    )
    change_params(root, _change)
    with contextlib.chdir(root):
        tasks = load_tasks(load_params())
        for name in ("image", "sentiment"):
            folder = tasks[name].folder("prepare")
            write_all(folder, tasks[name].module("prepare").prepare(tasks[name], folder).files())
            _write_evidence(tasks[name])
        dataset = read_dataset(tasks["image"])
        packed = open_packed(tasks["image"].folder("prepare") / "images.npy")
        _weights(tasks["image"], images.fresh_model(tasks["image"], dataset, packed, 0), 0)
        for seed in (0, 1, 2):
            _weights(tasks["sentiment"], texts.fresh_model(tasks["sentiment"], 2, seed), seed)
    return root


def scores_of(root: Path, folder: Path, task: str, path: Path) -> OtherScores:
    """Return what `evaluate_other_data` does, computed in this process."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    with contextlib.chdir(root):
        return OtherScores(**score_other_data(str(work), task, str(path)))


def predictions_of(root: Path, files: list[Path]) -> np.ndarray:
    """Return the classes that the image model predicts, without what is tested here."""
    from stages.kinds.image_classification.model import load
    from stages.training.image_networks import to_tensor

    with contextlib.chdir(root):
        task = load_tasks(load_params())["image"]
        model = load(task, read_dataset(task), 0)
        pixels = np.stack([np.asarray(Image.open(file))[None] for file in files])
        predicted: np.ndarray = model(to_tensor(pixels)).argmax(1).numpy()
    return predicted


def test_images_of_other_people_are_scored_with_an_interval(
    submission: Path, tmp_path: Path
) -> None:
    other = make_folder(tmp_path / "other", count=30, start=500)
    files = [other / name / f"{n}.png" for name in "ab" for n in range(30)]
    labels = np.repeat([0, 1], 30)
    correct = int((predictions_of(submission, files) == labels).sum())
    # One group for each image: the pattern finds a number in every path, which two images share.
    scores = scores_of(submission, tmp_path, "image", other)
    assert scores.n == 60
    assert scores.scores["accuracy"] == pytest.approx(correct / 60)
    assert scores.scores["accuracy_low"] <= correct / 60 <= scores.scores["accuracy_high"]
    assert scores.models == "seed 0"
    assert scores.remarks == []
    # Without groups in the names, samples are independent, and the interval is Wilson's.
    for file in files:
        file.rename(
            file.with_name(
                f"x{file.stem.translate(str.maketrans('0123456789', 'abcdefghij'))}.bmp.png"
            )
        )
    plain = scores_of(submission, tmp_path, "image", other)
    low, high = proportion_interval(correct, 60, 0.95)
    assert plain.scores["accuracy"] == pytest.approx(correct / 60)
    ends = (plain.scores["accuracy_low"], plain.scores["accuracy_high"])
    assert ends == pytest.approx((low, high))


def test_claims_are_held_against_the_other_data(submission: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", count=30, start=500)
    scores = scores_of(submission, tmp_path, "image", other)
    value = scores.scores["accuracy"]
    claims = [
        parse_claim(f"image accuracy >= {value - 0.001:.4f}"),
        parse_claim(f"image accuracy >= {value + 0.001:.4f}"),
        parse_claim("image gain >= 0.1"),
        parse_claim("sentiment accuracy >= 0.1"),
    ]
    conditions = scores.conditions(claims)
    outcomes = [condition.outcome for condition in conditions]
    assert outcomes == [Outcome.HOLDS, Outcome.FAILS, Outcome.UNCHECKED]
    assert conditions[0].name.startswith("claim on other data: image accuracy >= ")
    assert "95% interval" in conditions[0].reason
    assert "no metric 'gain'" in conditions[2].reason


@pytest.mark.parametrize(
    ("committed", "outcome"), [(0.1, Outcome.HOLDS), (0.5, Outcome.HOLDS), (0.99, Outcome.FAILS)]
)
def test_without_a_claim_the_committed_interval_is_the_claim(
    committed: float, outcome: Outcome
) -> None:
    keys = ("accuracy", "accuracy_low", "accuracy_high")
    own, theirs = (
        dict(zip(keys, (value, value - 0.005, value + 0.005), strict=True))
        for value in (0.504, committed)
    )
    scores = OtherScores("image", "accuracy", 60, own, theirs, "seed 0", [])
    (condition,) = scores.conditions([])
    assert condition.outcome is outcome
    assert f"committed {committed:g}" in condition.reason
    nothing = OtherScores("image", "accuracy", 60, own, {}, "seed 0", [])
    assert nothing.conditions([])[0].outcome is Outcome.UNCHECKED


def test_texts_are_scored_and_need_no_further_columns(submission: Path, tmp_path: Path) -> None:
    rows = [["ab"[n % 2], f"words {n} that nobody has seen"] for n in range(20)]
    rows.append(["a", ""])
    (tmp_path / "other.csv").write_text(to_csv_text([["label", "words"], *rows]), newline="")
    scores = scores_of(submission, tmp_path, "sentiment", tmp_path / "other.csv")
    assert scores.n == 20
    assert 0 <= scores.scores["accuracy"] <= 1
    assert scores.remarks == [f"--data sentiment={tmp_path / 'other.csv'}: left out: 1 unreadable"]


def test_samples_that_were_trained_on_are_named(submission: Path, tmp_path: Path) -> None:
    path = submission / "data/raw/photos"
    (remark,) = scores_of(submission, tmp_path, "image", path).remarks
    assert "are among the 24 of the test data" in remark
    assert "a/" in remark


@pytest.mark.parametrize(
    ("classes", "line"),
    [
        ("ac", "not the 2 of the submission (unknown: 'c'; absent: 'b')"),
        ("abc", "(unknown: 'c')"),
    ],
)
def test_other_classes_are_refused(
    submission: Path, tmp_path: Path, classes: str, line: str
) -> None:
    other = make_folder(tmp_path / "other", classes, 3)
    with pytest.raises(UserError) as error:
        scores_of(submission, tmp_path, "image", other)
    assert line in str(error.value)
    assert str(error.value).startswith(f"--data image={other}: its classes are not")


def test_what_cannot_be_scored_is_one_line(submission: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", count=3)
    with pytest.raises(UserError, match="tasks of the kind image_generation predict no labels"):
        scores_of(submission, tmp_path, "generative", other)
    with pytest.raises(UserError, match="given task 'photos'"):
        scores_of(submission, tmp_path, "photos", other)
    root = shutil.copytree(submission, tmp_path / "copy")
    weights = root / "data/train/image/weights-0.safetensors"
    weights.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        scores_of(root, tmp_path, "image", other)
    shutil.copy(root / "data/train/sentiment/weights-0.safetensors", weights)
    with pytest.raises(UserError, match="does not fit the model"):
        scores_of(root, tmp_path, "image", other)
    weights.unlink()
    with pytest.raises(UserError, match="no such file of weights"):
        scores_of(root, tmp_path, "image", other)
    with pytest.raises(UserError, match="is not a folder"):
        scores_of(submission, tmp_path, "image", submission / "params.yaml")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=f"--data image={empty}.* has 0 sub-folders"):
        scores_of(submission, tmp_path, "image", empty)


@pytest.mark.slow
def test_the_isolated_process_gives_the_same_and_imports_nothing(
    submission: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(submission, tmp_path / "copy")
    canary = tmp_path / "canary"
    for name in ("torch.py", "numpy.py", "stages/__init__.py", "safetensors.py"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"open({str(canary)!r}, 'w').write('run')\n")
    other = make_folder(tmp_path / "other", count=10, start=700)
    expected = scores_of(submission, tmp_path, "image", other)
    assert evaluate_other_data(OtherData("image", other), root) == expected
    assert not canary.exists()
    with pytest.raises(UserError, match="--data image=") as error:
        evaluate_other_data(OtherData("image", make_folder(tmp_path / "x", "xy", 3)), root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("image", "must be TASK=PATH"),
        ("=x", "must be TASK=PATH"),
        ("image=", "must be TASK=PATH"),
        ("image=nowhere", "nowhere: no such file or folder"),
    ],
)
def test_an_option_of_another_form_is_refused(text: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        parse_other_data(text)
    assert f"--data: given {text!r}" in str(error.value)
    assert line in str(error.value)


def test_the_fields_of_scores_are_json(submission: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", count=3)
    content = json.dumps(vars(scores_of(submission, tmp_path, "image", other)))
    assert OtherScores(**json.loads(content)).task == "image"
