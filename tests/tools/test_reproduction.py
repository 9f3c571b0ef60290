"""What `make repro` says of the results, compared with the last commit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.project import ROOT, commit, environment, run

from stages.core.files import to_json
from stages.core.machine import host_record
from stages.tools.reproduction import reproduction
from stages.tools.tolerance import FILE, flatten

TASKS = ("image", "sentiment", "generative", "workshop")


def make_lock() -> dict[str, Any]:
    """Return a dvc.lock with the stages whose inputs and outputs matter."""
    stages: dict[str, Any] = {}
    for task in TASKS:
        params = {f"tasks.{task}.train": {"epochs": 3, "seeds": [0]}}
        stages[f"train@{task}"] = {
            "cmd": f"python -m stages.train {task}",
            "deps": [
                {"path": f"data/prepare/{task}", "hash": "md5", "md5": "1"},
                {"path": "stages/train.py", "hash": "md5", "md5": "2"},
            ],
            "params": {"params.yaml": params},
            "outs": [{"path": f"data/train/{task}", "hash": "md5", "md5": "3"}],
        }
        stages[f"prepare@{task}"] = {
            "cmd": f"python -m stages.prepare {task}",
            "outs": [{"path": f"data/prepare/{task}", "hash": "md5", "md5": "1"}],
        }
    stages["compare"] = {
        "cmd": "python -m stages.compare",
        "deps": [{"path": "data/train", "hash": "md5", "md5": "4"}],
        "outs": [{"path": "data/compare", "hash": "md5", "md5": "5"}],
    }
    return {"schema": "2.0", "stages": stages}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a repository with committed results, and a tolerance measured of some of them."""
    files: dict[str, Any] = {
        "dvc.lock": make_lock(),
        "params.yaml": {"tasks": {task: {} for task in TASKS}},
        "evidence/machine.json": {},
        "metrics/metrics.json": {},
    }
    tolerances = {}
    for task in TASKS:
        metrics = {"current": {"accuracy": 0.9, "n": 10}, "baseline": {"accuracy": 0.8}}
        files[f"evidence/{task}/data/metrics.json"] = metrics
        files[f"evidence/{task}/README.md"] = [task]
        files[f"plots/loss/{task}.csv"] = [task]
        if task in {"image", "workshop"}:
            entries = {
                key: {"committed": value, "tolerance": 0.01}
                for key, value in flatten(metrics).items()
            }
            tolerances[task] = {"metrics": entries}
    files[FILE.as_posix()] = {"tasks": tolerances}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(to_json(content))
    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    commit(tmp_path, "results")
    return tmp_path


def change_accuracy(project: Path, task: str, change: float) -> None:
    path = project / f"evidence/{task}/data/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["current"]["accuracy"] += change
    path.write_bytes(to_json(metrics))


def change_lock(project: Path, stage: str, key: str, value: Any) -> None:
    yaml = YAML()
    lock = yaml.load((project / "dvc.lock").read_text())
    params = lock["stages"][stage]["params"]["params.yaml"]
    next(iter(params.values()))[key] = value
    with (project / "dvc.lock").open("w") as file:
        yaml.dump(lock, file)


def test_equal_results_are_bit_for_bit(project: Path) -> None:
    """The log of experiments and the records of machine and tolerance are no results."""
    (project / "evidence/workshop/experiments.csv").write_text("a line")
    (project / "evidence/machine.json").write_text("another machine")
    result = reproduction(project)
    assert result.lines == ["all 13 results reproduced bit for bit"]
    assert result.status == 0
    done = subprocess.run(
        [sys.executable, "-m", "stages.tools.reproduction"],
        cwd=project,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().split("\n") == result.lines


def test_differences_are_shown_by_their_share_of_the_tolerance(project: Path) -> None:
    change_accuracy(project, "image", 0.002)
    change_accuracy(project, "workshop", -0.005)
    page = project / "evidence/sentiment/README.md"
    page.write_text(page.read_text() + "more\n")
    (project / "plots/loss/generative.csv").unlink()
    result = reproduction(project)
    head, *lines = result.lines
    assert head == "9 of 13 results reproduced bit for bit, the others differ:"
    assert [line.partition(":")[0] for line in lines] == [
        "workshop",
        "image",
        "generative",
        "sentiment",
    ]
    assert lines[0].startswith(
        "workshop: 1 files differ, within the tolerance: current.accuracy is"
    )
    assert lines[0].endswith("they differ by 0.005, the measured tolerance is 0.01")
    assert lines[2] == (
        "generative: 1 files differ, the metrics are equal: plots/loss/generative.csv"
    )
    assert result.status == 0
    change_accuracy(project, "image", 0.03)
    result = reproduction(project)
    assert result.lines[1].startswith("image: 1 files differ, outside the tolerance: ")
    assert result.status == 1


def test_results_of_another_machine_name_it(project: Path) -> None:
    host = host_record()
    other = {**host, "processor": "another one", "torch": "1.0"}
    machines = {
        task: {"results_sha256": "", "machine": record}
        for task, record in {"image": other, "sentiment": host, "workshop": other}.items()
    }
    (project / "evidence/machine.json").write_bytes(to_json(machines))
    commit(project, "computed elsewhere")
    (project / "evidence/machine.json").write_text("{}")  # what was committed counts
    assert reproduction(project).lines == ["all 13 results reproduced bit for bit"]
    change_accuracy(project, "image", 0.002)
    (project / "metrics/metrics.json").write_text("{}")
    lines = reproduction(project).lines
    assert lines[2] == "metrics/metrics.json: merges the results of the tasks, which differ"
    assert lines[3] == (
        "computed on another machine (processor another one, torch 1.0): image; "
        "another processor or version rounds differently, and training amplifies that"
    )
    change_accuracy(project, "workshop", 0.002)
    change_accuracy(project, "sentiment", 0.002)  # computed on a machine like this one
    assert "torch 1.0): image, workshop; " in reproduction(project).lines[-1]
    for damaged in ("{", '{"image": {"machine": 1}}', '{"image": 1}', "[]"):
        (project / "evidence/machine.json").write_text(damaged)
        commit(project, "damaged")  # with the results so far
        change_accuracy(project, "image", 0.002)
        assert [line.partition(":")[0] for line in reproduction(project).lines[1:]] == ["image"]


def test_without_a_tolerance_of_these_metrics_it_is_to_be_measured(project: Path) -> None:
    (project / FILE).unlink()
    commit(project, "no tolerance")
    change_accuracy(project, "image", 0.5)
    result = reproduction(project)
    assert result.lines[1].endswith("measure its tolerance with `evidence tolerance image`")
    assert result.status == 0


def test_results_of_changed_inputs_are_new(project: Path) -> None:
    change_lock(project, "train@image", "epochs", 99)
    change_accuracy(project, "image", 0.5)
    (project / "metrics/metrics.json").write_text("{}")  # merged from all tasks
    result = reproduction(project)
    assert result.lines[0] == (
        "image: new results, nothing to compare (tasks.image.train.epochs has changed)"
    )
    assert result.lines[1:] == ["all 9 results reproduced bit for bit"]
    assert result.status == 0
    for task in ("sentiment", "generative", "workshop"):
        change_lock(project, f"train@{task}", "seeds", [99])
    assert len(reproduction(project).lines) == 4


def test_code_and_data_are_inputs_too(project: Path) -> None:
    lock = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(lock.replace('"md5": "2"', '"md5": "6"', 1))
    assert "(stages/train.py has changed)" in reproduction(project).lines[0]
    (project / "dvc.lock").write_text(lock.replace("stages.prepare image", "forge.py image"))
    assert reproduction(project).lines[0].startswith("image: new results, nothing to compare (its ")
    (project / "dvc.lock").write_text(lock.replace('"md5": "3"', '"md5": "6"'))  # outputs are not
    assert reproduction(project).lines == ["all 13 results reproduced bit for bit"]


def test_without_a_commit_there_is_nothing_to_compare(project: Path) -> None:
    shutil.rmtree(project / ".git")
    result = reproduction(project)
    assert len(result.lines) == 1
    assert result.lines[0].startswith("no committed results to compare with (git ")
    run(project, "git", "init", "--quiet")
    result = reproduction(project)
    assert len(result.lines) == 1
    assert result.status == 0
