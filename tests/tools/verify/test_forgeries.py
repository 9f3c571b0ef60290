"""Forged evidence: each forgery is committed as a forger would, and reported by a named tier."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from support.forgery import (
    claim_another_machine,
    claim_wide_tolerance,
    edit_json,
    edit_lock,
    edit_table,
    forge_predictions,
    outside,
    relock,
    replace,
)
from support.project import TASKS, commit, run

from stages.core.files import read_arrays, read_json, write
from stages.core.repositories import clone_revision
from stages.core.task import Task
from stages.datasets.dataset import Dataset, read_dataset
from stages.kinds.params import load_params, load_tasks
from stages.report.recompute import Recomputation
from stages.tools.tolerance import Tolerance
from stages.tools.verify import lock, pack_checks, pipeline, recompute, rerun
from stages.tools.verify.machines import Machines
from stages.tools.verify.running import Runner
from stages.tools.verify.verdicts import Verdict
from stages.tools.verify.verdicts_of_reruns import RerunComparison
from stages.tools.verify.verification import verify

TASK = "workshop"
EVIDENCE = f"evidence/{TASK}"
DATA = f"{EVIDENCE}/data"


def raise_accuracy(metrics: dict[str, Any]) -> None:
    metrics[TASK]["accuracy"] = 0.999999


def predict_labels(predictions: pd.DataFrame) -> None:
    predictions["seed_0"] = predictions["label"]


# --- the tier hashes
def test_plain_edits_are_reported_by_hashes(prepared: Path) -> None:
    """All in one commit: results, params, commands, raw data, folders, a pack that is gone."""
    (prepared / "photos.txt").write_text("data that DVC tracks are no stage of the pipeline")
    run(prepared, "dvc", "add", "--quiet", "photos.txt")
    edit_json(prepared / "metrics/metrics.json", raise_accuracy)
    replace(prepared / DATA / "predictions.csv", "\n", "\n\n")
    replace(prepared / "data/raw/sentiment/reviews.csv", "a", "b")
    shutil.rmtree(prepared / "evidence/image/data")
    (prepared / "elsewhere").mkdir()
    (prepared / "elsewhere/keep.txt").write_text("")
    replace(
        prepared / "dvc.yaml",
        "cmd: python -m stages.params",
        "cmd: echo valid\n    wdir: elsewhere",
    )
    for stage in ("evaluate", "failures"):
        replace(
            prepared / "dvc.yaml", f"python -m stages.{stage} ${{key}}", "python forge.py ${key}"
        )

    def change(stages: dict[str, Any]) -> None:
        params = stages[f"train@{TASK}"]["params"]["params.yaml"]
        params[f"tasks.{TASK}.train"]["learning_rate"] = 0.03
        for task in TASKS:  # swapped in the lock as well
            stages[f"evaluate@{task}"]["cmd"] = f"python forge.py {task}"

    edit_lock(prepared, change)
    commit(prepared, "forged")
    report = verify(str(prepared), "HEAD", last="hashes")
    assert report.status() == 1
    reasons = outside(report, "hashes")
    for stage, start in (
        ("compare", "metrics/metrics.json: dvc.lock has md5"),
        (f"pack@{TASK}", f"{DATA}: dvc.lock has md5"),
        ("prepare@sentiment", "data/raw/sentiment/reviews.csv: dvc.lock was run with md5"),
        (
            "pack@image",
            "evidence/image/data: dvc.lock has it, but it is not in git, where dvc.yaml keeps it",
        ),
        (
            f"train@{TASK}",
            f"tasks.{TASK}.train.learning_rate: dvc.lock was run with 0.03, params.yaml says 0.02",
        ),
        (f"failures@{TASK}", "command: dvc.lock has run 'python -m stages.failures workshop'"),
        (
            f"evaluate@{TASK}",
            f"command: dvc.yaml says 'python forge.py {TASK}', this stage of the ",
        ),
        ("params", "command: dvc.yaml says 'echo valid', this stage of the pipeline runs"),
    ):
        messages = reasons.pop(stage)
        assert any(text.startswith(start) for text in messages), (stage, start, messages)
    assert reasons.keys() == {
        *(f"evaluate@{task}" for task in TASKS if task != TASK),
        *(f"failures@{task}" for task in TASKS if task != TASK),
    }


def test_a_stage_runs_its_module_in_the_root(chain: Path) -> None:
    stages = {"compare": SimpleNamespace(cmd="python -m stages.compare", wdir=str(chain / "fast"))}
    repo = cast("lock.LockedRepo", SimpleNamespace(root=chain, stages=stages))
    reason = pipeline.command_disagreement(repo, "compare")
    assert (
        reason == f"wdir: dvc.yaml says {chain}/fast, this stage of the pipeline runs in the root"
    )
    stages["compare"].wdir = str(chain)
    assert pipeline.command_disagreement(repo, "compare") == ""


# --- the tier metrics
def test_edits_with_their_hashes_are_reported_by_metrics(prepared: Path) -> None:
    """All in one commit, with `dvc commit --force`."""
    edit_table(prepared / DATA / "predictions.csv", predict_labels)
    (prepared / EVIDENCE / "summary.html").write_text("<h1>accuracy 100%</h1>")
    replace(prepared / EVIDENCE / "README.md", "accuracy", "splendid accuracy")
    edit_json(prepared / EVIDENCE / "record.json", lambda record: record.update(improvement=0.5))

    edit_table(
        prepared / f"plots/loss/{TASK}.csv", lambda plot: plot.__setitem__("train_loss", 0.0)
    )
    edit_json(prepared / "metrics/metrics.json", raise_accuracy)

    relock(prepared)
    commit(prepared, "forged")
    report = verify(str(prepared), "HEAD", last="metrics", only=[TASK, "compare"])
    assert outside(report, "hashes") == {}
    assert report.status() == 1
    reasons = outside(report, "metrics")
    for stage, start in (
        (f"evaluate@{TASK}", f"{DATA}/metrics.json: current.accuracy is "),
        (f"pack@{TASK}", f"{EVIDENCE}/summary.html: the pack has no such file"),
        (f"pack@{TASK}", f"{EVIDENCE}/README.md: says "),
        (f"pack@{TASK}", f"{EVIDENCE}/record.json: says "),
        ("compare", f"plots/loss/{TASK}.csv: says "),
        ("compare", f"metrics/metrics.json: {TASK}.accuracy is 0.999999"),
    ):
        messages = reasons[stage]
        assert any(text.startswith(start) for text in messages), (stage, start, messages)


@pytest.mark.long
def test_other_samples_with_their_hashes_are_reported_by_metrics(prepared: Path) -> None:
    def move_samples(samples: pd.DataFrame) -> None:
        group = samples.loc[samples["split"] == "test", "group"].iloc[0]
        samples.loc[samples.index[samples["group"] == group][:20], "split"] = "train"

    edit_table(prepared / "data/prepare/image/samples.csv", move_samples)
    # Training data under an unchanged note.
    edit_table(
        prepared / "data/raw/sentiment/reviews.csv",
        lambda reviews: reviews.__setitem__("text", reviews["text"] + " Indeed."),
    )
    relock(prepared)
    commit(prepared, "forged")
    report = verify(str(prepared), "HEAD", last="metrics", only=["image", "sentiment"])
    assert outside(report, "hashes") == {}
    reasons = outside(report, "metrics")
    assert reasons["prepare@image"] == [
        "data/prepare/image: the raw data in git give other samples than dvc.lock says"
    ]
    (reason,) = reasons["prepare@sentiment"]  # status 3 of the stage
    assert reason.startswith("it fails: ")
    assert "is not one of the embedded files" in reason


@pytest.fixture
def packed(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the files from which the tier metrics computes, and work in it."""
    for name in ("evidence", "metrics", "plots", "data/prepare", "data/review"):
        shutil.copytree(chain / name, tmp_path / name)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(chain / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_task(name: str) -> dict[str, list[str]]:
    """Return by stage what disagrees in the pack of a task."""
    task = load_tasks(load_params())[name]
    recomputations: dict[str, Recomputation] = {}
    reasons: dict[str, list[str]] = {}
    for finding in recompute._collect(f"pack@{name}", recompute._check_task(task, recomputations)):
        if finding.verdict is Verdict.OUTSIDE:
            reasons.setdefault(finding.stage, []).append(finding.reason)
    return reasons


def _comparison(tasks: dict[str, Task], recomputations: dict[str, Recomputation]) -> list[str]:
    return [item.line for item in pack_checks.check_comparison(tasks, recomputations)]


def recomputed(name: str) -> tuple[Task, Recomputation]:
    task = load_tasks(load_params())[name]
    return task, task.module("recompute").recompute(task, read_dataset(task))


def test_every_task_follows_from_its_pack(packed: Path) -> None:
    tasks = load_tasks(load_params())
    recomputations: dict[str, Recomputation] = {}
    for task in tasks.values():
        findings = list(recompute._check_task(task, recomputations))
        assert {finding.verdict for finding in findings} == {Verdict.BITWISE, Verdict.AGREES}, (
            findings
        )
    assert recomputations.keys() == set(TASKS)
    assert _comparison(tasks, recomputations) == []


def add_task(metrics: dict[str, Any]) -> None:
    metrics["imagenet"] = {"accuracy": 0.999}


def test_further_metrics_and_plots_are_reported(packed: Path) -> None:
    tasks = load_tasks(load_params())
    recomputations = {TASK: recomputed(TASK)[1]}
    metrics, plot = Path("metrics/metrics.json"), Path("plots/confusion/perfect.csv")
    honest = metrics.read_bytes()

    def reasons() -> list[str]:
        return _comparison(tasks, recomputations)

    assert reasons() == []
    expected = [
        f"{metrics}: the stage compare writes the tasks {', '.join(tasks)}, and no key twice"
    ]
    edit_json(metrics, add_task)
    assert reasons() == expected
    metrics.write_bytes(honest)
    replace(metrics, f'"{TASK}": {{', f'"{TASK}": {{\n    "accuracy": 0.999,')
    assert reasons() == expected
    metrics.write_bytes(honest)
    plot.write_text("actual,predicted\na,a\n")
    Path(f"plots/loss/{TASK}.csv").unlink()
    assert reasons() == [
        f"{plot}: the stage compare writes no such plot",
        f"plots/loss/{TASK}.csv: is missing",
    ]


def test_tables_that_contradict_each_other_are_reported(packed: Path) -> None:
    data = Path(DATA)
    honest = {name: (data / name).read_bytes() for name in ("predictions.csv", "per_class.csv")}

    def reasons() -> list[str]:
        disagreements = check_task(TASK).get(f"evaluate@{TASK}", [])
        for name, content in honest.items():
            (data / name).write_bytes(content)
        return disagreements

    assert reasons() == []
    edit_table(data / "per_class.csv", lambda table: table.__setitem__("f1", 1.0))
    assert reasons()[0].startswith(f"{DATA}/per_class.csv: says ")
    edit_table(
        data / "predictions.csv", lambda table: table.__setitem__("baseline_confidence", 0.5)
    )
    assert reasons()[0].startswith(f"{DATA}/predictions.csv: says ")
    edit_table(data / "predictions.csv", lambda table: table.__setitem__("group", "g"))
    assert reasons() == [
        "predictions.csv: its id, row, group, label are not those of the prepared test split"
    ]


@pytest.mark.parametrize("damage", ["column", "rows", "file", "text", "folder"])
def test_a_damaged_pack_is_reported(packed: Path, damage: str) -> None:
    path = Path(DATA) / "predictions.csv"
    if damage == "column":
        pd.read_csv(path).drop(columns="confidence").to_csv(path, index=False)
    elif damage == "rows":
        pd.read_csv(path).head(5).to_csv(path, index=False)
    elif damage == "file":
        path.unlink()
    elif damage == "text":
        (Path(DATA) / "metrics.json").write_text("[]")
    else:
        path.unlink()
        path.mkdir()
    assert check_task(TASK)


def test_groups_in_several_splits_are_reported(packed: Path) -> None:
    """Whatever made the split."""
    dataset = read_dataset(load_tasks(load_params())["image"].folds()[0])
    assert list(pack_checks.cross_split_groups(dataset)) == []
    samples = dataset.samples.copy()
    group = dataset.part("test")["group"].iloc[0]
    samples.loc[samples.index[samples["group"] == group][0], "split"] = "train"
    assert list(pack_checks.cross_split_groups(Dataset(samples, dataset.note))) == [
        f"the group {group!r} is in several splits: test samples are not independent"
    ]


@pytest.mark.long
def test_other_code_is_named_and_what_it_alone_gives_is_not_checked(prepared: Path) -> None:
    replace(prepared / "stages/pack.py", '"""', '"""Also: ')
    relock(prepared)
    commit(prepared, "other code")
    report = verify(str(prepared), "HEAD", last="metrics", only=[TASK])
    assert report.status() == 3
    assert [(item.path, item.change) for item in report.code] == [("stages/pack.py", "differs")]
    assert "1 files of code differ, read them" in report.line()
    edit_json(prepared / DATA / "metrics.json", lambda metrics: metrics.update(primary_seed=7))
    relock(prepared)
    commit(prepared, "a metric that only its own code may give")
    report = verify(str(prepared), "HEAD", last="metrics", only=[TASK])
    assert report.status() == 2
    (reason,) = {
        finding.reason for finding in report.stages() if finding.stage == f"evaluate@{TASK}"
    }
    assert "primary_seed is 7, computed again from the files in git 0" in reason
    assert "by this verifier's code, from which the revision's differs" in reason


# --- the tier predictions
def test_without_the_weights_of_the_lock_predictions_are_not_checked(
    prepared: Path, tmp_path: Path
) -> None:
    run(prepared, "dvc", "remote", "add", "--quiet", "far", str(tmp_path / "far"))
    run(prepared, "dvc", "push", "--quiet", "--remote", "far", f"train@{TASK}")
    for path in sorted((tmp_path / "far").rglob("*")):
        if path.is_file() and path.read_bytes()[8:9] == b"{":  # a safetensors file's header
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"\1")
    commit(prepared, "a remote")
    root = tmp_path / "clone"
    clone_revision(str(prepared), "HEAD", root)
    rerun.configure_cache(root)
    repo = lock.LockedRepo.read(root, [TASK])
    comparison = RerunComparison(repo, Tolerance(), Machines({}))
    for remote in ("", "far"):
        storage = rerun.Storage(remote)
        findings = [
            finding
            for finding in rerun.rerun_from_weights(repo, comparison, storage, Runner(repo))
            if finding.stage.endswith(f"@{TASK}")
        ]
        assert {finding.verdict for finding in findings} == {Verdict.UNCHECKED}
        assert all(finding.reason.startswith("no weights: ") for finding in findings)
        assert len(findings) == 7


@pytest.fixture
def forged(prepared: Path) -> Path:
    """Return a project with three forgeries, and all that follows from them made and locked.

    The predictions of `workshop`, with the claim of another machine and a tolerance that allows
    anything; the weights of `image`; the baseline of `sentiment`.
    """
    forge_predictions(prepared, TASK)
    folder = prepared / "data/train/image/fold-0"
    shutil.copy(folder / "weights-1.safetensors", folder / "weights-0.safetensors")
    folder = prepared / "data/baseline/sentiment"
    predictions = read_arrays(folder / "test.safetensors")
    strongest = read_json(folder / "baseline.json")["strongest"]
    predictions[strongest] = np.roll(predictions[strongest], 1, axis=1)
    write(folder / "test.safetensors", predictions)
    run(prepared, "python", "-m", "stages.evaluate", "sentiment")
    for task in (TASK, "sentiment"):
        for stage in ("failures", "pack"):
            run(prepared, "python", "-m", f"stages.{stage}", task)
    run(prepared, "python", "-m", "stages.compare")
    relock(prepared)
    claim_another_machine(prepared, TASK)
    claim_wide_tolerance(prepared, TASK)
    commit(prepared, "forged")
    return prepared


@pytest.mark.long
def test_forgeries_with_all_that_follows_are_reported_by_predictions(forged: Path) -> None:
    names = [TASK, "image", "sentiment"]
    report = verify(str(forged), "HEAD", last="predictions", only=names)
    assert outside(report, "hashes") == outside(report, "metrics") == {}
    reasons = outside(report, "predictions")
    assert f"{DATA}/predictions.csv: the same weights give " in reasons[f"evaluate@{TASK}"][0]
    assert "the log says" in reasons["evaluate@image"][0]  # status 3 of the stage
    assert reasons["baseline@sentiment"] == [
        "data/baseline/sentiment: computed on a machine like this one, where it comes out differently"
    ]
    retrained = verify(str(forged), "HEAD", only=[TASK])
    reasons = outside(retrained, "retrain")
    assert reasons[f"evaluate@{TASK}"][0].endswith(
        "training comes out bit for bit here, and this does not"
    )
