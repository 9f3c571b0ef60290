"""Forged evidence: each forgery is committed as a forger would, and caught at a named tier."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import change_params, commit, run

from stages.params import load
from stages.shared import comparison
from stages.shared.dataset import Dataset, read_dataset
from stages.shared.files import as_json, read_arrays, read_csv, read_json, write, write_all
from stages.shared.task import tasks
from stages.shared.texts.source import NOT_EMBEDDED
from stages.shared.verifying import locked, recomputed
from stages.shared.verifying.band import FILE, leaves
from stages.shared.verifying.recomputed import _of_samples
from stages.shared.verifying.report import Report
from stages.shared.verifying.verdicts import Finding, Verdict
from stages.verify import verify

pytestmark = pytest.mark.xdist_group("chain")
ROW = "workshop"
EVIDENCE = f"evidence/{ROW}"
DATA = f"{EVIDENCE}/data"


def caught(where: Path, tier: str, row: str = ROW) -> dict[str, str]:
    """Commit what lies in a project, and verify it up to a tier that must be the first to object.

    Returns:
        by stage, what that tier says disagrees.
    """
    commit(where, "forged")
    report = verify(str(where), "HEAD", last=tier, only=[row, "compare"])
    *before, last = report.tiers
    assert last.name == tier
    for earlier in before:
        assert _outside(report, earlier.name) == {}, f"caught by {earlier.name} already"
    assert report.status() == 1
    return _outside(report, tier)


def _outside(report: Report, tier: str) -> dict[str, str]:
    return {
        one.stage: one.said
        for found in report.tiers
        if found.name == tier
        for one in reversed(found.findings)
        if one.verdict is Verdict.OUTSIDE
    }


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def relocked(where: Path, *stages: str) -> None:
    """Make DVC believe what lies there."""
    run(where, "dvc", "commit", "--force", "--quiet", *stages)


def better_metric(where: Path) -> None:
    path = where / "metrics/metrics.json"
    metrics = json.loads(path.read_text())
    metrics[ROW]["accuracy"] = 0.999999
    path.write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")


# --- honest
def test_an_honest_repository_raises_no_alarm_at_any_tier(chain: Path) -> None:
    report = verify(str(chain), "HEAD", only=[ROW])
    assert {str(one.verdict) for one in report.stages()} == {"bit for bit"}
    assert [tier.name for tier in report.tiers] == ["hashes", "metrics", "predictions", "retrain"]
    assert report.status() == 0
    assert report.machines[ROW]["torch"] == report.machines["here"]["torch"]


def test_every_row_follows_from_what_is_in_git(chain: Path) -> None:
    report = verify(str(chain), "HEAD", last="metrics")
    found = {one.stage: str(one.verdict) for one in report.tiers[1].findings}
    assert set(found.values()) == {"bit for bit", "agrees"}
    assert {name for name in found if name.startswith("pack@")} == {
        f"pack@{row}" for row in ("image", "sentiment", "generative", "workshop")
    }
    assert report.status() == 0


def test_without_weights_the_tier_says_so(chain: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(chain), "clone")
    report = verify(str(tmp_path / "clone"), "HEAD", last="predictions", only=[ROW])
    assert report.status() == 2
    assert all("no weights: " in one.said for one in report.tiers[2].findings)


# --- caught by hashes
@pytest.mark.parametrize(
    ("forge", "stage", "said"),
    [
        (better_metric, "compare", "metrics/metrics.json: dvc.lock has md5"),
        (
            lambda where: replaced(where / DATA / "predictions.csv", "\n", "\n\n"),
            f"pack@{ROW}",
            f"{DATA}: dvc.lock has md5",
        ),
        (
            lambda where: replaced(
                where / "dvc.lock", "learning_rate: 0.02", "learning_rate: 0.03"
            ),
            f"check@{ROW}",
            f"{ROW}.train.learning_rate: dvc.lock was run with 0.03, params.yaml says 0.02",
        ),
        (
            lambda where: replaced(
                where / "dvc.yaml", "python -m stages.evaluate ${key}", "python forge.py ${key}"
            ),
            f"evaluate@{ROW}",
            "command: dvc.lock has run",
        ),
    ],
    ids=["metric", "predictions", "params", "command"],
)
def test_a_plain_edit_is_caught_by_hashes(
    prepared: Path, forge: Callable[[Path], None], stage: str, said: str
) -> None:
    forge(prepared)
    assert said in caught(prepared, "hashes")[stage]


def test_a_command_swapped_in_the_lock_too_is_caught_by_hashes(prepared: Path) -> None:
    replaced(prepared / "dvc.yaml", "python -m stages.evaluate ${key}", "python forge.py ${key}")
    for row in ("image", "sentiment", "generative", "workshop"):
        replaced(prepared / "dvc.lock", f"stages.evaluate {row}", f"forge {row}")
        replaced(prepared / "dvc.lock", f"python -m forge {row}", f"python forge.py {row}")
    assert caught(prepared, "hashes")[f"evaluate@{ROW}"] == (
        f"command: dvc.yaml says 'python forge.py {ROW}', a stage of the grid runs "
        f"'python -m stages.evaluate {ROW}'"
    )


def test_training_data_under_an_unchanged_note_are_caught(prepared: Path) -> None:
    raw = prepared / "data/raw/sentiment/reviews.csv"
    before = hashlib.md5(raw.read_bytes(), usedforsecurity=False).hexdigest()
    table = pd.read_csv(raw, keep_default_na=False)
    table.loc[3, "text"] = str(table.loc[3, "text"]) + " Indeed."
    table.to_csv(raw, index=False, lineterminator="\n")
    assert (
        "reviews.csv: dvc.lock was run with md5"
        in caught(prepared, "hashes", "sentiment")["prepare@sentiment"]
    )
    after = hashlib.md5(raw.read_bytes(), usedforsecurity=False).hexdigest()
    lock = (prepared / "dvc.lock").read_text().replace(before, after)
    (prepared / "dvc.lock").write_text(lock)
    said = caught(prepared, "metrics", "sentiment")["prepare@sentiment"]
    assert NOT_EMBEDDED in said


# --- caught by metrics
@pytest.mark.parametrize("by_hand", [True, False], ids=["lock by hand", "dvc commit -f"])
def test_a_metric_that_dvc_believes_is_caught_by_metrics(prepared: Path, by_hand: bool) -> None:
    path = prepared / "metrics/metrics.json"
    honest = json.loads(path.read_text())[ROW]["accuracy"]
    before = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    better_metric(prepared)
    if by_hand:
        after = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        replaced(prepared / "dvc.lock", before, after)
    else:
        relocked(prepared, "compare")
    assert caught(prepared, "metrics")["compare"] == (
        f"metrics/metrics.json: accuracy is 0.999999, what lies beside it in git gives {honest}"
    )


def test_edited_predictions_that_dvc_believes_are_caught_by_metrics(prepared: Path) -> None:
    path = prepared / DATA / "predictions.csv"
    table = pd.read_csv(path)
    table["seed_0"] = table["label"]
    table.to_csv(path, index=False, float_format="%.6f", lineterminator="\n")
    relocked(prepared, f"pack@{ROW}")
    found = caught(prepared, "metrics")
    assert f"{DATA}/metrics.json: " in found[f"evaluate@{ROW}"]
    assert "what lies beside it in git gives" in found[f"evaluate@{ROW}"]


@pytest.mark.parametrize("page", ["README.md", "index.html", "record.json"])
def test_a_page_that_says_other_than_its_data_is_caught_by_metrics(
    prepared: Path, page: str
) -> None:
    path = prepared / EVIDENCE / page
    if page == "record.json":
        record = json.loads(path.read_text())
        record["improvement"] = 0.5
        path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    else:
        replaced(path, "points of accuracy", "splendid points of accuracy")
    relocked(prepared, f"pack@{ROW}")
    said = caught(prepared, "metrics")[f"pack@{ROW}"]
    assert said.startswith(f"{EVIDENCE}/{page}: says ")
    assert "its data give" in said


def test_plots_that_disagree_with_predictions_are_caught_by_metrics(prepared: Path) -> None:
    path = prepared / f"plots/{ROW}/confusion.csv"
    table = pd.read_csv(path)
    table["predicted"] = table["actual"]
    table.to_csv(path, index=False, lineterminator="\n")
    relocked(prepared, f"evaluate@{ROW}", f"pack@{ROW}")
    said = caught(prepared, "metrics")[f"evaluate@{ROW}"]
    assert said == (
        f"plots/{ROW}/confusion.csv: the predictions and the log in {DATA} give another plot"
    )


def more_rows(where: Path) -> str:
    path = where / "metrics/metrics.json"
    metrics = json.loads(path.read_text())
    path.write_bytes(as_json({**metrics, "imagenet": {"accuracy": 0.999}}))
    return "metrics/metrics.json: holds other than what the stage compare writes"


def a_key_twice(where: Path) -> str:
    replaced(where / "metrics/metrics.json", f'"{ROW}": {{', f'"{ROW}": {{\n    "accuracy": 0.999,')
    return "metrics/metrics.json: holds other than what the stage compare writes"


def one_more_plot(where: Path) -> str:
    (where / f"plots/{ROW}/perfect.csv").write_text("actual,predicted\na,a\n")
    return f"plots/{ROW}/perfect.csv: the stage evaluate writes no such plot"


def one_more_page(where: Path) -> str:
    (where / EVIDENCE / "summary.html").write_text("<h1>accuracy 100%</h1>")
    return f"{EVIDENCE}/summary.html: no pack has such a file"


@pytest.mark.parametrize("forge", [more_rows, a_key_twice, one_more_plot, one_more_page])
def test_what_no_stage_writes_is_caught_by_metrics(
    prepared: Path, forge: Callable[[Path], str]
) -> None:
    said = forge(prepared)
    relocked(prepared, "compare", f"evaluate@{ROW}", f"pack@{ROW}")
    found = caught(prepared, "metrics").values()
    assert any(one.startswith(said) for one in found), found


def test_a_pack_that_was_taken_away_is_caught(prepared: Path) -> None:
    shutil.rmtree(prepared / DATA)
    said = caught(prepared, "hashes")[f"pack@{ROW}"]
    assert said == f"{DATA}: dvc.lock has it, and git, where dvc.yaml keeps it, has not"


def test_code_that_no_stage_names_is_held_against_the_verifiers(prepared: Path) -> None:
    with (prepared / "stages/__init__.py").open("a") as file:
        file.write("better = True\n")
    commit(prepared, "more code")
    report = verify(str(prepared), "HEAD", last="metrics", only=[ROW])
    assert report.status() == 2
    assert {one.verdict for one in report.tiers[1].findings} == {Verdict.UNCHECKED}
    assert report.stages()[0].said.startswith("stages/__init__.py of this revision is not the code")


def test_a_draft_beside_the_verifiers_code_hinders_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("verifier", "revision"):
        (tmp_path / name / "stages").mkdir(parents=True)
        (tmp_path / name / "stages/pack.py").write_text("made = 1\n")
    monkeypatch.setattr(recomputed, "CODE", tmp_path / "verifier")
    found = cast("locked.Locked", SimpleNamespace(root=tmp_path / "revision"))
    (tmp_path / "verifier/notes.py").write_text("of the user")
    assert recomputed.other_code(found) == ""
    (tmp_path / "revision/yaml.py").write_text("hides a library")
    assert recomputed.other_code(found) == "yaml.py"
    (tmp_path / "revision/yaml.py").unlink()
    (tmp_path / "revision/stages/pack.py").write_text("made = 2\n")
    assert recomputed.other_code(found) == "stages/pack.py"


def test_a_stage_that_runs_in_another_folder_is_caught_by_hashes(prepared: Path) -> None:
    pipeline = yaml.safe_load((prepared / "dvc.yaml").read_text())
    pipeline["stages"]["compare"]["wdir"] = "fast"
    (prepared / "fast").mkdir()
    (prepared / "fast/keep.txt").write_text("")
    (prepared / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    caught(prepared, "hashes")
    report = verify(str(prepared), "HEAD", last="hashes", only=["compare"])
    found = [one.said for one in report.tiers[0].findings]
    assert any(one.endswith("a stage of the grid runs in the root") for one in found)


def test_data_of_ones_own_that_dvc_tracks_are_no_stage_of_the_grid(prepared: Path) -> None:
    (prepared / "mine.txt").write_text("mine")
    run(prepared, "dvc", "add", "--quiet", "mine.txt")
    commit(prepared, "own data")
    assert verify(str(prepared), "HEAD", last="hashes").status() == 0


@pytest.mark.parametrize("damage", ["column", "file", "text"])
def test_a_damaged_pack_is_no_crash(prepared: Path, damage: str) -> None:
    path = prepared / DATA / "predictions.csv"
    if damage == "column":
        pd.read_csv(path).drop(columns="confidence").to_csv(path, index=False)
    elif damage == "file":
        shutil.rmtree(prepared / f"plots/{ROW}")
        shutil.copytree(prepared / DATA, prepared / f"plots/{ROW}")
    else:
        (prepared / DATA / "metrics.json").write_text("[]")
    relocked(prepared, f"evaluate@{ROW}", f"pack@{ROW}")
    assert caught(prepared, "metrics")


def test_a_moved_split_is_caught_by_metrics(prepared: Path) -> None:
    path = prepared / "data/prepare/image/samples.csv"
    table = pd.read_csv(path)
    group = table.loc[table["split"] == "test", "group"].iloc[0]
    some = table.index[table["group"] == group][:20]
    table.loc[some, "split"] = "train"
    table.to_csv(path, index=False, lineterminator="\n")
    relocked(prepared, "prepare@image")
    commit(prepared, "moved")
    report = verify(str(prepared), "HEAD", last="metrics", only=["image"])
    assert _outside(report, "metrics")["prepare@image"] == (
        "data/prepare/image: the raw data in git give other samples than dvc.lock says"
    )


def test_writers_on_both_sides_are_seen_whatever_made_the_split(chain: Path) -> None:
    with contextlib.chdir(chain):
        task = tasks(load())["image"]
        dataset = read_dataset(task.folder("prepare"))
        assert list(_of_samples(task, dataset)) == []
        samples = dataset.samples.copy()
        group = dataset.part("test")["group"].iloc[0]
        moved = samples.index[samples["group"] == group][0]
        samples.loc[moved, "split"] = "train"
        said = list(_of_samples(task, Dataset(samples, dataset.note)))
    assert said[0] == (
        f"the group {group!r} lies in several splits: what is tested was seen in training"
    )
    assert "are not those of the prepared test split" in said[1]


# --- caught by predictions
def forged_on(where: Path) -> None:
    """Run what comes after evaluate, and make DVC believe all of it."""
    run(where, "python", "-m", "stages.failures", ROW)
    run(where, "python", "-m", "stages.pack", ROW)
    run(where, "python", "-m", "stages.compare")
    relocked(where, f"evaluate@{ROW}", f"failures@{ROW}", f"pack@{ROW}", "compare")


def test_predictions_forged_with_all_that_follows_are_caught_by_predictions(prepared: Path) -> None:
    with contextlib.chdir(prepared):
        task = tasks(load())[ROW]
        dataset, folder = read_dataset(task.folder("prepare")), task.folder("evaluate")
        probabilities = {
            name: np.eye(len(dataset.classes), dtype=np.float32)[dataset.labels("test")] * 0.9
            + 0.03
            for name in read_arrays(folder / "probabilities.safetensors")
        }
        # A few mistakes stay: a row without any would be looked at twice.
        for one in probabilities.values():
            one[:4] = np.roll(one[:4], 1, axis=1)
        answers = comparison.answered(
            dataset,
            {int(name[5:]): one for name, one in probabilities.items()},
            read_arrays(task.folder("baseline") / "test.safetensors"),
            read_json(task.folder("baseline") / "baseline.json")["strongest"],
            read_csv(folder / "validation_predictions.csv", dtype={"id": str}),
        )
        found = comparison.measured(
            task,
            dataset,
            answers,
            read_json(task.folder("baseline") / "baseline.json"),
            read_csv(task.folder("train") / "log.csv"),
        )
        features = read_arrays(folder / "features.safetensors")
        evaluation = comparison.Evaluation(answers, probabilities, features, found)
        write_all(folder, evaluation.files())
        write_all(task.plots, {f"{name}.csv": table for name, table in found.plots.items()})
    # Nor does it help to claim another machine, and a band as wide as can be.
    machine = prepared / f"data/train/{ROW}/machine.json"
    replaced(machine, '"processor": "', '"processor": "another ')
    relocked(prepared, f"train@{ROW}")
    forged_on(prepared)
    wide = {key: {"reach": 1e6} for key in leaves(found.metrics)}
    write(prepared / FILE, as_json({"rows": {ROW: {"metrics": wide}}}))
    commit(prepared, "forged")
    report = verify(str(prepared), "HEAD", only=[ROW])
    assert _outside(report, "hashes") == _outside(report, "metrics") == {}
    said = _outside(report, "predictions")[f"evaluate@{ROW}"]
    assert f"{DATA}/predictions.csv: the same weights give " in said
    said = _outside(report, "retrain")[f"evaluate@{ROW}"]
    assert said.endswith("training comes out bit for bit here, and this does not")


def test_swapped_weights_are_caught_by_predictions(prepared: Path) -> None:
    folder = prepared / f"data/train/{ROW}"
    shutil.copy(folder / "weights-1.safetensors", folder / "weights-0.safetensors")
    relocked(prepared, f"train@{ROW}")
    run(prepared, "dvc", "commit", "--force", "--quiet")
    said = caught(prepared, "predictions")[f"evaluate@{ROW}"]
    assert "the chosen weights give the logged validation loss" in said


def test_weights_that_are_not_those_of_the_lock_are_not_taken(
    prepared: Path, tmp_path: Path
) -> None:
    run(prepared, "dvc", "remote", "add", "--quiet", "far", str(tmp_path / "far"))
    run(prepared, "dvc", "push", "--quiet", "--remote", "far")
    for path in sorted((tmp_path / "far").rglob("*")):
        if path.is_file() and path.read_bytes()[8:9] == b"{":  # a safetensors file's header
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"\1")
    commit(prepared, "a remote")
    report = verify(str(prepared), "HEAD", last="predictions", only=[ROW], remote="far")
    assert report.status() == 2
    assert all("no weights: " in one.said for one in report.tiers[2].findings)


def test_a_baseline_made_worse_is_caught_by_predictions(prepared: Path) -> None:
    folder = prepared / f"data/baseline/{ROW}"
    given = read_arrays(folder / "test.safetensors")
    strongest = read_json(folder / "baseline.json")["strongest"]
    given[strongest] = np.roll(given[strongest], 1, axis=1)
    write(folder / "test.safetensors", given)
    relocked(prepared, f"baseline@{ROW}")
    run(prepared, "python", "-m", "stages.evaluate", ROW)
    forged_on(prepared)
    run(prepared, "dvc", "commit", "--force", "--quiet")
    said = caught(prepared, "predictions")[f"baseline@{ROW}"]
    assert said.startswith(f"data/baseline/{ROW}: made on a machine like this one")


# --- another machine
def test_what_another_machine_rounds_otherwise_goes_by_the_measured_band(prepared: Path) -> None:
    """As on another machine: of committed weights that are a little other than come out here."""
    two = {name: (prepared / name).read_bytes() for name in ("params.yaml", "dvc.lock")}
    change_params(prepared, lambda params: params["runtime"].update(threads=1))
    run(prepared, "dvc", "repro", "--quiet", f"pack@{ROW}")
    for path in (prepared / f"data/train/{ROW}").glob("*.safetensors"):
        weights = {name: array * np.float32(1.0002) for name, array in read_arrays(path).items()}
        write(path, weights)
    relocked(prepared, f"train@{ROW}")
    run(prepared, "python", "-m", "stages.evaluate", ROW)
    forged_on(prepared)
    (prepared / "params.yaml").write_bytes(two["params.yaml"])
    lock = yaml.safe_load((prepared / "dvc.lock").read_text())
    for stage in lock["stages"].values():
        for given in stage.get("params", {}).values():
            given.get("runtime", {}).update(threads=2)
    lock["stages"]["params"] = yaml.safe_load(two["dvc.lock"])["stages"]["params"]
    (prepared / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))

    metrics = leaves(json.loads((prepared / DATA / "metrics.json").read_text()))

    def judged(reach: float) -> dict[str, Finding]:
        found = {
            key: {"seen": ["better", one, "not distinguishable", "worse", "test set too small"]}
            if isinstance(one, str)
            else {"reach": reach}
            for key, one in metrics.items()
        }
        band = {"rows": {ROW: {"metrics": found}}}
        write(prepared / FILE, as_json(band))
        commit(prepared, f"a band of {reach}")
        report = verify(str(prepared), "HEAD", only=[ROW])
        assert _outside(report, "hashes") == _outside(report, "metrics") == {}
        return {one.stage: one for one in report.stages()}

    wide = judged(1e6)
    assert wide[f"evaluate@{ROW}"].verdict in {Verdict.SAME, Verdict.BAND}
    assert Verdict.OUTSIDE not in {one.verdict for one in wide.values()}
    assert "furthest apart: " in wide[f"evaluate@{ROW}"].said
    narrow = judged(0.0)
    assert narrow[f"evaluate@{ROW}"].verdict is Verdict.OUTSIDE
    assert "the measured band is 0" in narrow[f"evaluate@{ROW}"].said
