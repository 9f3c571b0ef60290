"""A small DVC repository with the committed evidence of two tasks, whose stages do next to nothing."""

import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.tools.archive.contents import Contents, collect
from stages.tools.archive.members import write_archive
from stages.tools.archive.revision import read_revision
from support.project import ROOT, environment, run

TASKS = ("image", "sentiment")
PIPELINE = """
stages:
  prepare:
    foreach: [image, sentiment]
    do:
      cmd: python toy/prepare.py ${item}
      deps:
        - toy/prepare.py
        - photos
      outs:
        - data/prepare/${item}
  train:
    foreach: [image, sentiment]
    do:
      cmd: python -m toy.train ${item}
      deps:
        - toy/train.py
        - data/prepare/${item}
      params:
        - tasks.${item}.train
      outs:
        - data/train/${item}
"""
PREPARE = """
import pathlib, sys
folder = pathlib.Path("data/prepare", sys.argv[1])
folder.mkdir(parents=True)
(folder / "samples.csv").write_text("row,id,label,group,split\\n0,a,0,g,train\\n1,b,1,h,test\\n")
(folder / "images.npy").write_bytes(sys.argv[1].encode())
"""
TRAIN = """
import pathlib, sys
folder = pathlib.Path("data/train", sys.argv[1])
folder.mkdir(parents=True)
(folder / "weights-0.safetensors").write_bytes(b"weights of " + sys.argv[1].encode())
(folder / "log.csv").write_text("epoch\\n")
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "toy/prepare.py": PREPARE,
    "toy/train.py": TRAIN,
    "README.md": "# Toy pipeline\n",
    "photos/one.txt": "a photo",
    "photos/two words.txt": "another photo",
    "caf\u00e9 & co.txt": "non-ASCII",
    "windows.txt": "first\r\nsecond\r\n",
    ".gitattributes": "*.txt text=auto eol=lf\n",
    "requirements/base.txt": f"numpy==1.0 \\\n    --hash=sha256:{'0' * 64}\n",
}


def make_project(folder: Path) -> Path:
    """Make and run the pipeline, with data that DVC tracks, and commit everything."""
    folder.mkdir()
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    Repo.init(str(folder)).close()
    for name in ("params.yaml", "evidence/machine.json", "data/raw/sentiment/reviews.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for task in TASKS:
        pictures = shutil.ignore_patterns("pictures", "index.html")
        shutil.copytree(ROOT / "evidence" / task, folder / "evidence" / task, ignore=pictures)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "evidence/link").symlink_to("../README.md")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", environment()["PATH"])
        patch.chdir(folder)
        with Repo() as repo:
            repo.add("photos")
            repo.reproduce()
    # As on Windows with another setting: the carriage returns are in the commit, against the attributes.
    blob = run(folder, "git", "hash-object", "-w", "--no-filters", "windows.txt").stdout.strip()
    run(folder, "git", "add", "-A")
    run(folder, "git", "update-index", "--cacheinfo", f"100644,{blob},windows.txt")
    run(folder, "git", "commit", "--quiet", "-m", "f\u00fcnf\n\nwith a body")
    return folder


def contents_of(project: Path, *, data: bool = True, packages: Path | None = None) -> Contents:
    """Return what an archive of HEAD holds."""
    revision = read_revision(project, "HEAD")
    return collect(revision, project / ".dvc/cache", data=data, packages=packages)


def make_archived(folder: Path) -> None:
    """Make the repository `toy` and the archive `toy.zip` in a folder."""
    folder.mkdir()
    write_archive(folder / "toy.zip", contents_of(make_project(folder / "toy")).members())
