"""Small DVC repositories that are not of this project: two stages, run in a second."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dvc.repo import Repo

from support.project import ROOT, commit, environment, run

if TYPE_CHECKING:
    import subprocess

COPY = "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read().upper())\n"
SCORE = (
    "import json, yaml\n"
    "params = yaml.safe_load(open('params.yaml'))\n"
    "json.dump({'accuracy': params['right'] / 4, 'kind': 'toy'}, open('metrics.json', 'w'))\n"
)
PIPELINE = """
stages:
  upper:
    cmd: python upper.py raw.txt upper.txt
    deps: [upper.py, raw.txt]
    outs: [upper.txt]
  score:
    cmd: python score.py
    deps: [score.py, upper.txt]
    params: [right]
    metrics: [metrics.json: {cache: false}]
"""
# Runs `evidence` of this project, whose folder is the first argument, wherever it starts.
EVIDENCE = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from stages.tools.cli import main; main()"
)
FILES = {"upper.py": COPY, "score.py": SCORE, "raw.txt": "abc", "params.yaml": "right: 3\n"}


def write_project(folder: Path, files: Mapping[str, str]) -> None:
    """Make a DVC repository of these files."""
    folder.mkdir()
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    Repo.init(str(folder)).close()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def repro(folder: Path, *arguments: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run `evidence repro` of this project in another folder."""
    command = [sys.executable, "-c", EVIDENCE, str(ROOT), "repro", *arguments]
    return run(folder, *command, status=status)


def reproduce(folder: Path) -> None:
    """Run the pipeline of a repository, as `dvc repro --all-pipelines` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", environment()["PATH"])
        patch.chdir(folder)
        with Repo() as repo:
            repo.reproduce(all_pipelines=True)


def make_project(folder: Path, files: Mapping[str, str]) -> Path:
    """Make a DVC repository of these files, run its pipeline, and commit the results."""
    write_project(folder, files)
    reproduce(folder)
    commit(folder, "reproduced")
    return folder
