"""Policies: their form, and what each rule says of a result."""

import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.images import make_folder
from support.project import change_params, commit, new_project
from support.texts import to_csv_text

from stages.core.errors import UserError
from stages.core.repositories import clone_revision
from stages.tools.verify.code import CodeDifference
from stages.tools.verify.conditions.condition import Outcome
from stages.tools.verify.conditions.overlap import Overlap, find_overlap, measure_overlap
from stages.tools.verify.conditions.policy import check_policy, read_policy, time_limit
from stages.tools.verify.machines import Machines
from stages.tools.verify.report import Report

SPLIT = {"test": 0.3, "validation": 0.15, "seed": 0}


def report_with(*code: str) -> Report:
    """Return a report of a revision in which these files differ."""
    report = Report("somewhere", "0" * 40, "hashes", Machines({}))
    report.code = [CodeDifference(path, "differs") for path in code]
    return report


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a submission with 24 images in two classes, and 24 texts."""
    root = tmp_path_factory.mktemp("submission") / "project"
    root.mkdir()
    new_project(root)
    make_folder(root / "data/raw/photos", count=12)
    texts = [
        [f"{word} text number {n} of its kind", "ab"[n % 2]] for n in range(24) for word in "x"
    ]
    (root / "data/raw/texts.csv").write_text(to_csv_text([["words", "label"], *texts]), newline="")

    def change(params: dict[str, Any]) -> None:
        image, sentiment = params["tasks"]["image"], params["tasks"]["sentiment"]
        image["prepare"] |= {"source": "folder", "path": "data/raw/photos", "split": SPLIT}
        columns: dict[str, Any] = {
            "text": "words",
            "label": "label",
            "id": None,
            "group": None,
            "slices": [],
        }
        sentiment["prepare"] |= {
            "source": "csv",
            "path": "data/raw/texts.csv",
            "classes": ["a", "b"],
            "columns": columns,
            "near_duplicate": 1.0,
        }
        sentiment["evaluate"]["bucket_by"] = None
        sentiment["baseline"] |= {"keywords": None}
        params["tasks"]["workshop"]["evaluate"]["confidence"] = 0.8
        params["tasks"]["workshop"]["train"]["seeds"] = [7, 8, 9, 10, 11, 12, 13]

    change_params(root, change)
    commit(root, "submitted")
    clone_revision(str(root), "HEAD", root.with_name("clone"))
    return root.with_name("clone")


def overlap_of(root: Path, task: str, path: Path, near: float | None, text: str | None) -> Overlap:
    """Return what `find_overlap` does, computed in this process, which has imported all that is needed."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(root):
        return Overlap(**measure_overlap(folder, task, str(path), near, text))


def outcomes(
    content: dict[str, Any], root: Path, folder: Path, *code: str
) -> dict[str, tuple[Outcome, str]]:
    """Return by condition the outcome and the reason that a policy gives."""
    path = folder / "policy.yaml"
    path.write_text(json.dumps(content))
    conditions = check_policy(read_policy(path), path, root, report_with(*code))
    return {condition.name: (condition.outcome, condition.reason) for condition in conditions}


def test_only_allowed_code_may_differ(submission: Path, tmp_path: Path) -> None:
    rule = {"allowed_code": ["stages/kinds/mine", "docs/*.sh", "setup.py"]}

    def outcome(*code: str) -> tuple[Outcome, str]:
        return outcomes(rule, submission, tmp_path, *code)["policy: allowed code"]

    assert outcome() == (Outcome.HOLDS, "no file differs")
    allowed = outcome("stages/kinds/mine/model.py", "docs/run.sh", "setup.py")
    assert allowed == (Outcome.HOLDS, "3 files differ, all where they may")
    for path in ("stages/kinds/mine2/model.py", "setup.py.py", "stages/train.py", "mine"):
        assert outcome(path, "setup.py") == (Outcome.FAILS, f"{path} differ, and may not")
    assert outcome(*(f"f{n}.py" for n in range(9)))[1].endswith(
        "f4.py and 4 more differ, and may not"
    )


def test_confidence_and_seeds_of_every_task_count(submission: Path, tmp_path: Path) -> None:
    rules: dict[str, Any] = {"min_confidence": 0.95, "required_seeds": [0, 1, 2]}
    results = outcomes(rules, submission, tmp_path)
    assert {name: outcome for name, (outcome, _) in results.items()} == {
        "policy: image min_confidence": Outcome.HOLDS,
        "policy: sentiment min_confidence": Outcome.HOLDS,
        "policy: generative min_confidence": Outcome.HOLDS,
        "policy: workshop min_confidence": Outcome.FAILS,
        "policy: image required_seeds": Outcome.FAILS,
        "policy: sentiment required_seeds": Outcome.HOLDS,
        "policy: generative required_seeds": Outcome.FAILS,
        "policy: workshop required_seeds": Outcome.FAILS,
    }
    reason = results["policy: workshop required_seeds"][1]
    assert reason == "train.seeds are [7, 8, 9, 10, 11, ...]; must be [0, 1, 2]"
    results = outcomes({**rules, "tasks": ["sentiment", "other"]}, submission, tmp_path)
    assert [outcome for outcome, _ in results.values()] == [
        *(Outcome.HOLDS, Outcome.UNCHECKED) * 2,
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("{", "tasks: 3", "", "tasks: {image: 3}"),
        f"tasks: {{image: {{evaluate: {{confidence: {10**400}}}}}}}",
        "tasks: {image: {evaluate: {confidence: true}}}",
    ],
)
def test_damaged_params_of_a_submission_are_not_checked(
    submission: Path, tmp_path: Path, text: str
) -> None:
    source = shutil.copytree(submission.with_name("project"), tmp_path / "source")
    (source / "params.yaml").write_text(text)
    commit(source, "damaged")
    root = tmp_path / "clone"
    clone_revision(str(source), "HEAD", root)
    rules = {"min_confidence": 0.9, "tasks": ["image"]}
    results = outcomes(rules, root, tmp_path)
    assert results["policy: image min_confidence"][0] is Outcome.UNCHECKED


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("tier: all", "tier: given 'all'; must be 'hashes', 'metrics', 'predictions' or 'retrain'"),
        ("tiers: hashes", "tiers: unknown key; the nearest known key is 'tier'"),
        ("seconds: 0", "seconds: given 0; must be greater than or equal to 1"),
        ("min_confidence: 95", "min_confidence: given 95; must be less than 1"),
        ("required_seeds: [1, 1]", "must name each seed once"),
        ("claims: [image accuracy]", "claims[0]: given 'image accuracy'; must be TASK METRIC"),
        (
            "official_test_data: {image: {path: nowhere}}",
            "official_test_data.image.path: given 'nowhere'",
        ),
        ("- tier", "the whole file: given ['tier']; must be a section with keys of its own"),
        ("a: &a [*a]", "alias"),
    ],
)
def test_a_wrong_policy_is_one_line(tmp_path: Path, content: str, line: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        read_policy(path)
    assert str(error.value).startswith(str(path))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_policy_asks_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("# nothing yet\n")
    assert check_policy(read_policy(path), path, tmp_path, report_with()) == []


def test_a_time_limit_ends_what_runs() -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match="stopped after 1 seconds"), time_limit(1):
        time.sleep(20)
    assert time.monotonic() - start < 10
    with time_limit(1):
        pass
    time.sleep(1.1)  # no alarm is left
    with time_limit(None):
        pass


def test_images_trained_on_are_found_among_test_data(submission: Path, tmp_path: Path) -> None:
    photos = submission / "data/raw/photos"
    official = tmp_path / "official"
    make_folder(official, "c", 5)
    clean = overlap_of(submission, "image", official, None, None)
    assert (clean.exact, clean.near, clean.test, clean.example) == (0, 0, 5, "")
    assert clean.threshold == 0.05
    # Every image of the submission, so that the ones trained on are among them, whatever the split.
    for file in sorted(photos.rglob("*.png")):
        target = official / "deep" / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(target.with_suffix(".bmp"))  # other bytes, the same pixels
    (official / "note.txt").write_text("no image")
    overlap = overlap_of(submission, "image", official, None, None)
    assert overlap.trained_on < 24
    assert (overlap.exact, overlap.near, overlap.test) == (overlap.trained_on, 0, 29)
    assert overlap.example.startswith("a/")
    assert " is deep/a/" in overlap.example


def test_nearly_the_same_images_count_up_to_the_threshold_of_the_receiver(
    submission: Path, tmp_path: Path
) -> None:
    official = tmp_path / "official"
    official.mkdir()
    for place, file in enumerate(sorted((submission / "data/raw/photos").rglob("*.png"))):
        image = Image.open(file)
        image.putpixel((0, 0), 255 - int(image.getpixel((0, 0)) or 0))  # type: ignore[arg-type]
        image.save(official / f"{place}.png")
    near = overlap_of(submission, "image", official, 0.2, None)
    assert (near.exact, near.near) == (0, near.trained_on)
    assert "is nearly" in near.example
    none = overlap_of(submission, "image", official, 0.0, None)
    assert (none.exact, none.near) == (0, 0)


def test_texts_trained_on_are_found_among_test_data(submission: Path, tmp_path: Path) -> None:
    official = tmp_path / "official.csv"
    rows = [[f"X  Text number {n} of its KIND"] for n in range(24)]
    official.write_text(
        to_csv_text([["body"], *rows, ["something else altogether here"]]), newline=""
    )
    overlap = overlap_of(submission, "sentiment", official, None, "body")
    assert (overlap.exact, overlap.test) == (overlap.trained_on, 25)
    rows = [[f"x text number {n} of its kind indeed"] for n in range(24)]
    official.write_text(to_csv_text([["words"], *rows]), newline="")
    near = overlap_of(submission, "sentiment", official, 0.5, None)
    assert (near.exact, near.near) == (0, near.trained_on)
    assert overlap_of(submission, "sentiment", official, 0.95, None).near == 0


def test_the_policy_fails_a_submission_with_test_data(submission: Path, tmp_path: Path) -> None:
    shutil.copytree(submission / "data/raw/photos", tmp_path / "official")
    rule = {"official_test_data": {"image": {"path": "official"}}}
    outcome, reason = outcomes(rule, submission, tmp_path)["policy: image official_test_data"]
    assert outcome is Outcome.FAILS
    assert "are among the 24 of the test data" in reason
    rule = {"official_test_data": {"nothing": {"path": "official"}}}
    outcome, reason = outcomes(rule, submission, tmp_path)["policy: nothing official_test_data"]
    assert (outcome, "given task 'nothing'" in reason) == (Outcome.UNCHECKED, True)


def test_test_data_that_cannot_be_read_are_not_taken_for_clean(
    submission: Path, tmp_path: Path
) -> None:
    (tmp_path / "official").mkdir()
    (tmp_path / "official" / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="none of the test data can be read"):
        overlap_of(submission, "image", tmp_path / "official", None, None)
    (tmp_path / "table.csv").write_text("other\nx\n")
    with pytest.raises(UserError, match="column 'words' is missing"):
        overlap_of(submission, "sentiment", tmp_path / "table.csv", None, None)


def test_nothing_of_the_submission_is_imported_or_changed(submission: Path, tmp_path: Path) -> None:
    root = shutil.copytree(submission, tmp_path / "copy")
    canary = tmp_path / "canary"
    line = f"open({str(canary)!r}, 'w').write('run')\n"
    for name in (
        "pandas.py",
        "numpy.py",
        "sitecustomize.py",
        "stages/__init__.py",
        "PIL/__init__.py",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(line)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    make_folder(tmp_path / "official", "c", 5)
    assert find_overlap(root, "image", tmp_path / "official", None, None).test == 5
    assert not canary.exists()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
