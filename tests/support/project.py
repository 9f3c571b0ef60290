"""Copies of the project, in which tests run what a user would run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.core.schema import Runtime
from stages.core.task import Task
from stages.kinds.params import load_params, load_tasks

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("image", "sentiment", "generative", "workshop")
CLASSIFIERS = ("image", "sentiment", "workshop")
USER = {
    "GIT_AUTHOR_NAME": "A Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.invalid",
    "GIT_COMMITTER_NAME": "A Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.invalid",
}

Change = Callable[[dict[str, Any]], None]


def environment() -> dict[str, str]:
    """Return the environment of a user who has activated the virtual environment."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, **USER, "PATH": path}


def run(
    where: Path, *command: str, status: int = 0, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in `where` with a text as its input; its exit status must be `status`."""
    done = subprocess.run(
        command,
        cwd=where,
        env=environment(),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def refused(where: Path, *command: str) -> str:
    """Run a command that must be refused: exit status 2, one line, no traceback. Return the line."""
    done = run(where, *command, status=2)
    lines = done.stderr.strip().split("\n")
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def copy_project(where: Path) -> Path:
    """Copy the project as it stands, without what git ignores, into a repository of its own."""
    names = run(ROOT, "git", "ls-files", "-co", "--exclude-standard").stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, where / name)
    run(where, "git", "init", "--quiet", "--initial-branch", "main")
    commit(where, "as it stands")
    return where


def _remove_tasks(params: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        del params["tasks"][name]


def keep_task(where: Path, name: str) -> None:
    """Remove every other task from a project, with its results, and the folders that no stage reads."""
    others = read_params(where)["tasks"].keys() - {name}
    for task in others:
        for pattern in (f"data/*/{task}", f"data/review/{task}.md", f"plots/*/{task}.csv"):
            for path in where.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(where / "evidence" / task)
    for folder in ("tests", "docs", ".dvc/cache"):
        shutil.rmtree(where / folder, ignore_errors=True)
    change_params(where, lambda params: _remove_tasks(params, others))
    for file, section in (("evidence/machine.json", None), ("evidence/tolerance.json", "tasks")):
        content = json.loads((where / file).read_text())
        for task in others:
            (content[section] if section else content).pop(task, None)
        (where / file).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    yaml = YAML()
    lock = yaml.load((where / "dvc.lock").read_text())
    for stage in [stage for stage in lock["stages"] if stage.rpartition("@")[2] in others]:
        del lock["stages"][stage]
    with (where / "dvc.lock").open("w") as target:
        yaml.dump(lock, target)
    evidence(where, "repro")
    run(where, "dvc", "commit", "--quiet", "--force")


def new_project(where: Path) -> Path:
    """Make a repository with the project's params, review notes and settings of DVC, without its code."""
    shutil.copytree(ROOT / "data/review", where / "data/review")
    (where / ".dvc").mkdir()
    for name in ("params.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, where / name)
    run(where, "git", "init", "--quiet")
    commit(where, "as it stands")
    return where


def commit(where: Path, message: str) -> None:
    """Commit everything in the work tree of `where`."""
    run(where, "git", "add", "-A")
    run(where, "git", "commit", "--quiet", "--allow-empty", "-m", message)


def read_params(where: Path = ROOT) -> dict[str, Any]:
    """Return params.yaml of `where`, as plain values."""
    params: dict[str, Any] = YAML(typ="safe").load((where / "params.yaml").read_text())
    return params


def change_params(where: Path, change: Change) -> None:
    """Rewrite params.yaml of `where` after `change`, which gets all of it."""
    params = read_params(where)
    change(params)
    with (where / "params.yaml").open("w") as file:
        YAML().dump(params, file)


def merge(section: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put nested `changes` into a section of params."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(section.get(key), dict):
            merge(section[key], value)
        else:
            section[key] = value


# As short as lets every check hold, and still through everything, with two seeds.
TINY: dict[str, dict[str, Any]] = {
    "image": {
        "prepare": {"split": {"folds": 3}},
        "check": {"overfit_loss": 0.4},  # as far as 8 channels get
        "train": {
            "epochs": 3,
            "channels": [8, 8],
            "seeds": [0, 1],
            "learning_rate": 0.03,
            "batch_size": 32,
        },
    },
    "sentiment": {
        "baseline": {
            "regularisation": [1.0],
            "svm_regularisation": [0.1],
            "max_samples": 400,
            "frozen_minilm": {"max_samples": 100, "max_tokens": 8},
        },
        "train": {
            "model": "scratch",
            "scratch": {"layers": 1, "width": 16, "heads": 2},
            "epochs": 2,
            "seeds": [0, 1],
            "learning_rate": 0.01,
        },
    },
    "generative": {
        "baseline": {
            "vae": {"epochs": 4},
            "reference_classifier": {"epochs": 3, "channels": [8, 8]},
        },
        "train": {
            "log_every": 20,
            "checkpoint_steps": [20, 60],
            "batch_size": 32,
            "channels": [16, 16],
            "learning_rate": 0.01,
            "ema_decay": 0.9,
        },
        "evaluate": {
            "samples": 60,
            "sampling_seeds": [0, 1],
            "solver_steps": 3,
            "resamples": 100,
        },
    },
    "workshop": {
        "baseline": {"flatten_linear": {"epochs": 2}},
        "train": {"epochs": 4, "seeds": [0, 1]},
    },
}


def tiny(params: dict[str, Any]) -> None:
    """Shorten every task of params."""
    for name, changes in TINY.items():
        merge(params["tasks"][name], changes)


def with_frozen_features(section: dict[str, Any], weights: str, **changes: Any) -> None:
    """Add the baseline of a frozen tiny_cnn, whose weights are a file, to a classifier's params."""
    settings = {
        "model": "tiny_cnn",
        "channels": [8, 16],
        "initial_weights": weights,
        "size": None,
        "regularisation": [1.0],
        "max_iterations": 10,
        "max_samples": 10,
    }
    section["baseline"]["methods"].append("frozen_features")
    section["baseline"]["frozen_features"] = {**settings, **changes}


def default_task(name: str) -> Task:
    """Return a task with the params of the project."""
    return load_tasks(load_params(ROOT / "params.yaml"))[name]


def default_runtime() -> Runtime:
    """Return the section runtime of the project's params."""
    return load_params(ROOT / "params.yaml").runtime


def evidence(where: Path, *arguments: str) -> str:
    """Run the command `evidence` in `where`; return what it prints."""
    return run(where, "python", "-m", "stages.tools", *arguments).stdout


def evidence_refused(where: Path, *arguments: str) -> str:
    """Run the command `evidence`, which must refuse its input; return its one line."""
    return refused(where, "python", "-m", "stages.tools", *arguments)
