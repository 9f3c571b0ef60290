"""A run with nothing to do, without DVC: what counts as a change, and what is never remembered."""

import json
import os
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.project import commit, run
from support.toy import FILES, PIPELINE, make_project, repro

from stages.tools.repro import up_to_date
from stages.tools.repro.up_to_date import (
    FILE,
    SETTLING_SECONDS,
    Report,
    project_state,
    remember_report,
    remembered_report,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a commit, whose files count as old although they have just been written."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "data/raw.txt").write_text("abc")
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder, "start")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(up_to_date, "SETTLING_SECONDS", -60.0)
    return folder


def _same_size_and_time(folder: Path) -> None:
    path = folder / "data/raw.txt"
    before = path.stat()
    path.write_text("xyz")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "same size and time": _same_size_and_time,
    "a new file": lambda folder: (folder / "data/new.txt").touch(),
    "a new hidden file": lambda folder: (folder / ".dvcignore").touch(),
    "a deleted file": lambda folder: (folder / "data/raw.txt").unlink(),
    "a renamed file": lambda folder: (folder / "data/raw.txt").rename(folder / "raw.txt"),
    "a commit": lambda folder: run(folder, "git", "commit", "--allow-empty", "-qm", "next"),
    "a tag": lambda folder: run(folder, "git", "tag", "baseline"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed(project: Path, change: Callable[[Path], object]) -> None:
    state = project_state(project)
    assert state is not None
    assert project_state(project) == state
    change(project)
    assert project_state(project) not in {state, None}


def test_what_tools_keep_is_no_change(project: Path) -> None:
    state = project_state(project)
    for folder in (".dvc/tmp", ".venv/lib", "data/__pycache__"):
        (project / folder).mkdir(parents=True)
        (project / folder / "file").touch()
    assert project_state(project) == state


def test_an_installed_package_is_noticed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    state = project_state(project)
    (tmp_path / "package").mkdir()
    assert project_state(project) != state


@pytest.mark.parametrize("linked", ["data", "file"])
def test_a_link_to_a_folder_could_hide_a_change(project: Path, tmp_path: Path, linked: str) -> None:
    (project / "link").symlink_to(project / "data" if linked == "data" else tmp_path / "elsewhere")
    assert project_state(project) is None  # the second one leads nowhere


def test_a_file_that_has_just_been_written_may_still_change(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up_to_date, "SETTLING_SECONDS", SETTLING_SECONDS)
    assert project_state(project) is None


def test_without_a_commit_or_dvc_there_is_no_state(project: Path, tmp_path: Path) -> None:
    (project / ".dvc").rmdir()
    assert project_state(project) is None
    (tmp_path / "empty/.dvc").mkdir(parents=True)
    run(tmp_path / "empty", "git", "init", "--quiet")
    assert project_state(tmp_path / "empty") is None


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"state": "a"}', b"\xff"])
def test_a_damaged_report_counts_as_none(project: Path, content: bytes | None) -> None:
    remember_report("a", Report("3 stages are up to date", 1))
    assert remembered_report("a") == Report("3 stages are up to date", 1)
    assert remembered_report("b") is None
    assert remembered_report(None) is None
    if content is None:
        (project / FILE).unlink()
    else:
        (project / FILE).write_bytes(content)
    assert remembered_report("a") is None


def test_the_report_is_repeated_until_a_file_changes(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "toy", {"dvc.yaml": PIPELINE, **FILES})
    repro(folder)
    assert not (folder / FILE).exists()  # its files have just been written
    time.sleep(SETTLING_SECONDS)
    first = repro(folder).stdout
    assert json.loads((folder / FILE).read_text())["text"] == first.rstrip("\n")
    # From now on DVC is not asked: it would fail on this.
    (folder / ".dvc/config").write_text("[core\n")
    assert repro(folder).stdout == first == "2 stages are up to date\n"
    (folder / ".dvc/config").write_text("")
    assert "upper: " in repro(folder, "upper", "--force").stdout
    (folder / "raw.txt").write_text("xyz")
    assert "upper" in repro(folder).stdout
    assert (folder / "upper.txt").read_text() == "XYZ"


def test_what_reads_files_of_elsewhere_is_looked_at_each_time(tmp_path: Path) -> None:
    pipeline = (
        "stages:\n  copy:\n    cmd: cp ../far.txt near.txt\n    deps: [../far.txt]\n"
        "    outs: [near.txt]\n"
    )
    (tmp_path / "far.txt").write_text("abc")
    folder = make_project(tmp_path / "toy", {"dvc.yaml": pipeline})
    time.sleep(SETTLING_SECONDS)
    assert repro(folder).stdout == "1 stages are up to date\n"
    assert not (folder / FILE).exists()
    (tmp_path / "far.txt").write_text("xyz")
    repro(folder)
    assert (folder / "near.txt").read_text() == "xyz"
