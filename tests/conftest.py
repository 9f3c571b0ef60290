"""Scratch copies of the project, in which tests run what a user would run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
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


def run(where: Path, *command: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in `where`; its exit status must be `status`."""
    done = subprocess.run(
        command, cwd=where, env=environment(), capture_output=True, text=True, check=False
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


def copied(where: Path) -> Path:
    """Copy the project as it stands, without what git ignores, into a repository of its own."""
    names = run(ROOT, "git", "ls-files", "-co", "--exclude-standard").stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, where / name)
    run(where, "git", "init", "--quiet", "--initial-branch", "main")
    commit(where, "as it stands")
    return where


def commit(where: Path, message: str) -> None:
    run(where, "git", "add", "-A")
    run(where, "git", "commit", "--quiet", "--allow-empty", "-m", message)


def change_params(where: Path, change: Change) -> None:
    path = where / "params.yaml"
    params = yaml.safe_load(path.read_text())
    change(params)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def tiny(params: dict[str, Any]) -> None:
    """Make the chain as short as it can be and still go through everything."""
    params["image"]["train"] |= {"epochs": 3, "channels": [8, 8], "seeds": [0, 1]}
    params["sentiment"]["train"] |= {
        "model": "scratch",
        "scratch": {"layers": 1, "width": 16, "heads": 2},
        "epochs": 2,
        "seeds": [0, 1],
        "learning_rate": 0.01,
    }
    params["workshop"]["train"] |= {"epochs": 4, "seeds": [0, 1]}
    params["workshop"]["baseline"] |= {"epochs": 2}
    # As short as lets the checks hold.
    params["generative"]["train"] |= {
        "log_every": 20,
        "review": [20, 60],
        "batch_size": 32,
        "channels": [16, 16],
        "learning_rate": 0.01,
        "average": 0.9,
    }
    params["generative"]["baseline"]["vae"] |= {"epochs": 4}
    params["generative"]["baseline"]["judge"] |= {"epochs": 3, "channels": [8, 8]}
    params["generative"]["evaluate"] |= {
        "samples": 60,
        "sampling_seeds": [0, 1],
        "solver_steps": 3,
        "resamples": 100,
    }


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project in which the chain has run with tiny params. Not to be changed."""
    where = copied(tmp_path_factory.mktemp("chain"))
    change_params(where, tiny)
    run(where, "dvc", "repro")
    commit(where, "reproduced")
    return where


@pytest.fixture
def prepared(chain: Path, tmp_path: Path) -> Path:
    """Return a copy of that project, data and models included, that a test may change."""
    shutil.copytree(chain, tmp_path / "project", symlinks=True)
    return tmp_path / "project"
