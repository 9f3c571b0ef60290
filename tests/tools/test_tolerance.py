"""The measured tolerance: what is rerun, and by how much metrics may differ."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.project import (
    ROOT,
    change_params,
    commit,
    evidence,
    read_params,
    run,
    with_frozen_features,
)

from stages.core.errors import UserError
from stages.kinds.params import load_params, load_tasks
from stages.tools.jobs.job import EndedJob, Job
from stages.tools.jobs.site import Pool
from stages.tools.measure_tolerance import Setting, align_seeds, metric_tolerances, settings
from stages.tools.tolerance import FILE, Tolerance, flatten


def test_each_setting_differs_from_what_is_in_use() -> None:
    params = load_params(ROOT / "params.yaml")
    task = load_tasks(params)["image"]
    alternatives = settings(params, task)
    assert len({setting.name for setting in alternatives}) == len(alternatives)
    for setting in alternatives:
        assert setting.seed_shift or any(
            getattr(params.runtime, key) != value for key, value in setting.runtime.items()
        )
    threads = {"threads": [params.runtime.threads]}
    tolerance = params.tolerance.model_copy(update=threads)
    same = settings(params.model_copy(update={"tolerance": tolerance}), task)
    assert not any("threads" in setting.runtime for setting in same)


def test_a_task_with_threads_of_its_own_is_rerun_with_others(tmp_path: Path) -> None:
    content = read_params()
    content["tasks"]["image"]["train"]["threads"] = 2
    (tmp_path / "params.yaml").write_text(json.dumps(content))
    params = load_params(tmp_path / "params.yaml")
    task = load_tasks(params)["image"]
    (setting,) = [setting for setting in settings(params, task) if "threads" in setting.runtime]
    setting.apply(tmp_path, task)
    rerun = load_tasks(load_params(tmp_path / "params.yaml"))["image"]
    assert (rerun.model_runtime.threads, rerun.runtime.threads) == (1, 1)


def test_a_setting_is_written_into_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that git does not have are read from the work tree."""
    project, clone = tmp_path / "project", tmp_path / "clone"
    (project / "photos").mkdir(parents=True)
    clone.mkdir()
    before = read_params()
    params = read_params()
    params["tasks"]["image"]["prepare"]["path"] = "photos"
    with_frozen_features(params["tasks"]["image"], "start.safetensors")
    (project / "start.safetensors").touch()
    (clone / "params.yaml").write_text(json.dumps(params))
    monkeypatch.chdir(project)
    task = load_tasks(load_params(clone / "params.yaml"))["image"]
    Setting("x", {"threads": 7}, 1000).apply(clone, task)
    after = read_params(clone)
    assert load_params(clone / "params.yaml").runtime.threads == 7
    section = after["tasks"]["image"]
    seeds = before["tasks"]["image"]["train"]["seeds"]
    assert section["train"]["seeds"] == [seed + 1000 for seed in seeds]
    assert section["prepare"]["path"] == str(project / "photos")
    weights = section["baseline"]["frozen_features"]["initial_weights"]
    assert weights == str(project / "start.safetensors")
    assert after["tasks"]["workshop"] == before["tasks"]["workshop"]


def test_seeds_are_compared_by_their_order() -> None:
    metrics = {
        "seeds": {"1000": {"accuracy": 0.1}, "1001": {"accuracy": 0.2}},
        "primary_seed": 1000,
    }
    assert align_seeds(metrics, [0, 1]) == {
        "seeds": {"0": {"accuracy": 0.1}, "1": {"accuracy": 0.2}},
        "primary_seed": 0,
    }


def test_the_tolerance_is_the_prediction_interval_of_a_difference() -> None:
    tolerances = metric_tolerances(
        {"a": 0.5, "w": "better", "n": 3}, [{"a": 0.6, "w": "worse", "n": 3}] * 2
    )
    deviation = float(np.std([0.5, 0.6, 0.6], ddof=1))
    expected = stats.t.ppf(0.995, 2) * deviation * 2**0.5
    assert tolerances["a"]["tolerance"] == pytest.approx(expected)
    assert (tolerances["a"]["min"], tolerances["a"]["max"]) == (0.5, 0.6)
    assert tolerances["n"]["tolerance"] == 0
    assert tolerances["w"] == {"values": ["better", "worse"]}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_no_measured_rerun_is_outside(values: list[float]) -> None:
    committed, *reruns = values
    key = "current.a"
    tolerances = metric_tolerances({key: committed}, [{key: value} for value in reruns])
    tolerance = Tolerance({"image": tolerances})
    for value in reruns:
        assert tolerance.outside("image", {key: committed}, {key: value}) == []


def test_numbers_differ_by_the_tolerance_and_words_are_those_that_came_up() -> None:
    metrics = {
        "current.accuracy": {"tolerance": 0.02, "min": 0.9, "max": 0.92, "committed": 0.91},
        "current.verdict": {"values": ["better", "not distinguishable"]},
        "current.satisfied": {"values": [True]},
    }
    tolerance = Tolerance({"image": metrics}, default=0.5)
    committed = {
        "current": {"accuracy": 0.91, "verdict": "better", "n": 100, "satisfied": True},
        "seeds": 1,
    }
    assert tolerance.outside("image", committed, committed) == []
    inside = {"accuracy": 0.925, "verdict": "not distinguishable", "n": 100, "satisfied": True}
    assert tolerance.outside("image", committed, {"current": inside}) == []
    outside = {"accuracy": 0.94, "verdict": "worse", "n": 101, "satisfied": False}
    assert list(map(str, tolerance.outside("image", committed, {"current": outside}))) == [
        "current.accuracy is 0.91, rerun 0.94: they differ by 0.03, the measured tolerance is 0.02",
        "current.n is 100, rerun 101: they differ by 1, the measured tolerance is 0",
        "current.satisfied is True, rerun False",
        "current.verdict is 'better', rerun 'worse'",
    ]
    assert tolerance.outside("", {"a": 1.0}, {"a": 1.5}) == []
    assert list(map(str, tolerance.outside("", {"a": 1.0}, {"b": 1.0}))) == [
        "a is 1.0, rerun None",
        "b is None, rerun 1.0",
    ]
    assert tolerance.without("image").outside("image", committed, {"current": inside})


def test_nan_is_within_no_tolerance() -> None:
    tolerance, nan = Tolerance({}, default=0.5), float("nan")
    assert tolerance.outside("", {"a": nan}, {"a": 0.75}) != []
    assert tolerance.outside("", {"a": 0.75}, {"a": nan}) != []
    assert tolerance.outside("", {"a": nan}, {"a": nan}) == []


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "[]",
        "{}",
        '{"tasks": {"image": 3}}',
        '{"tasks": {"image": {"metrics": {"a": 3}}}}',
        '{"tasks": {"image": {"metrics": {"a": {"values": 1}}}}}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tolerance.json").write_text(content)
    with pytest.raises(UserError, match="damaged; measure it with `evidence tolerance`"):
        Tolerance.read(tmp_path / "tolerance.json")


def test_the_committed_tolerance_was_measured_of_the_committed_metrics() -> None:
    content = json.loads((ROOT / FILE).read_text())
    assert content["tasks"].keys() == load_tasks(load_params(ROOT / "params.yaml")).keys()
    for task, entry in content["tasks"].items():
        metrics = flatten(json.loads((ROOT / f"evidence/{task}/data/metrics.json").read_text()))
        assert entry.keys() == {"machine", "metrics", "revision", "runs", "skipped"}
        assert entry["runs"]
        assert "by_run" in entry["metrics"]["current.improvement.gain"]
        for key, measured in entry["metrics"].items():
            message = f"{task}: {key}: run evidence tolerance {task}"
            if "values" in measured:
                assert metrics[key] in measured["values"], message
                continue
            assert measured["committed"] == metrics[key], message
            if "by_run" in measured:
                reruns = [{key: value} for value in measured["by_run"]]
                again = metric_tolerances({key: metrics[key]}, reruns)
                assert len(reruns) == len(entry["runs"])
                assert again[key]["tolerance"] == pytest.approx(measured["tolerance"], abs=2e-6)


def few_settings(params: dict[str, Any]) -> None:
    params["tolerance"] = {"threads": [2], "cpu": ["avx2"], "device": ["cuda"], "seeds": 1}


def test_a_tolerance_is_measured_of_head_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With reruns that are made up; `test_a_task_is_rerun` makes one."""
    path = Path("evidence/workshop/data/metrics.json")
    for name in ("params.yaml", FILE, path):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    change_params(tmp_path, few_settings)
    commit(tmp_path, "few settings")
    monkeypatch.chdir(tmp_path)
    metrics = json.loads(path.read_text())
    rerun = json.loads(path.read_text())
    rerun["current"]["accuracy"] -= 0.01

    def made_up(pool: Pool, jobs: Sequence[Job]) -> Iterator[EndedJob]:
        for number, job in enumerate(jobs):
            clone = tmp_path / str(number)
            (clone / "data/evaluate/workshop").mkdir(parents=True)
            (clone / "data/evaluate/workshop/metrics.json").write_text(json.dumps(rerun))
            yield EndedJob(job.name, clone, "", 1.0, {"processor": number})

    monkeypatch.setattr(Pool, "run", made_up)
    from stages.tools.cli import make_parser

    arguments = make_parser("tolerance").parse_args(["workshop"])
    arguments.run(arguments)
    content = json.loads(FILE.read_text())
    entry = content["tasks"]["workshop"]
    assert entry["revision"] == run(tmp_path, "git", "rev-parse", "HEAD").stdout.strip()
    assert "train.seeds + 1000" in entry["runs"]
    assert entry["machine"] == {"processor": [*range(len(entry["runs"]))]}
    accuracy = entry["metrics"]["current.accuracy"]
    assert accuracy["committed"] == metrics["current"]["accuracy"]
    assert accuracy["by_run"][-1] == pytest.approx(accuracy["committed"] - 0.01)
    assert Tolerance.read(FILE).belongs_to("workshop", metrics)
    assert content["tasks"].keys() == json.loads((ROOT / FILE).read_text())["tasks"].keys()
    arguments = make_parser("tolerance").parse_args(["photos"])
    with pytest.raises(UserError, match="given task 'photos'; must be one of"):
        arguments.run(arguments)


@pytest.mark.long
def test_a_task_is_rerun(prepared: Path) -> None:
    change_params(prepared, few_settings)
    commit(prepared, "few settings")
    evidence(prepared, "tolerance", "workshop")
    entry = json.loads((prepared / FILE).read_text())["tasks"]["workshop"]
    assert "train.seeds + 1000" in entry["runs"]
    assert entry["metrics"]["n"]["tolerance"] == 0
    assert len(entry["metrics"]["current.accuracy"]["by_run"]) == len(entry["runs"])
    assert run(prepared, "git", "status", "--short").stdout.strip() == f"M {FILE}"
