"""The clone of an experiment: what it has of the work tree, and the commit that DVC lists."""

import shutil
from pathlib import Path

import pytest
from support.project import commit, default_task, run

from stages.core.errors import UserError
from stages.tools import experiment_clone
from stages.tools.dvc_experiments import references
from stages.tools.repro.reproduce import log_file
from stages.tools.repro.targets import failure_line
from stages.tools.scratch import clone_work_tree


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with three files, the current folder."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    for name in ("changed.txt", "deleted.txt", "same.txt"):
        (folder / name).write_text("before\n")
    (folder / ".dvc/config").write_text("")
    (folder / ".gitignore").write_text("/data\n")
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder, "start")
    monkeypatch.chdir(folder)
    return folder


def test_the_clone_has_the_changes_that_no_commit_has(project: Path, tmp_path: Path) -> None:
    (project / "changed.txt").write_text("after\n")
    (project / "deleted.txt").unlink()
    (project / "staged.txt").write_text("new\n")
    run(project, "git", "add", "staged.txt")
    (project / "untracked.txt").write_text("not of git\n")
    status = run(project, "git", "status", "--porcelain").stdout
    clone = clone_work_tree(tmp_path / "clone")
    texts = {path.name: path.read_text() for path in clone.glob("*.txt")}
    assert texts == {"changed.txt": "after\n", "same.txt": "before\n", "staged.txt": "new\n"}
    assert run(project, "git", "status", "--porcelain").stdout == status
    head = run(project, "git", "rev-parse", "HEAD").stdout
    assert run(clone, "git", "rev-parse", "HEAD").stdout == head


def test_a_work_tree_in_the_middle_of_a_merge_is_refused(project: Path, tmp_path: Path) -> None:
    run(project, "git", "switch", "--quiet", "--create", "other")
    (project / "same.txt").write_text("theirs\n")
    commit(project, "theirs")
    run(project, "git", "switch", "--quiet", "main")
    (project / "same.txt").write_text("ours\n")
    commit(project, "ours")
    run(project, "git", "merge", "other", status=1)
    with pytest.raises(UserError, match="a conflict of a merge; resolve it first"):
        clone_work_tree(tmp_path / "clone")


def test_data_are_linked_and_notes_copied(project: Path, tmp_path: Path) -> None:
    task = default_task("generative")
    assert task.params.prepare.path == "data/raw/digits"
    for name in ("data/raw/digits/a.csv", "data/review/generative.md", "evidence/x/log.csv"):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text("text\n")
    clone = clone_work_tree(tmp_path / "clone")
    inputs = ["data/raw/digits", "data/review/generative.md", "evidence/x", "missing.md"]
    experiment_clone.make_ready(clone, task, inputs)
    assert (clone / "data/raw/digits").is_symlink()
    assert (clone / "data/raw/digits/a.csv").read_text() == "text\n"
    for name in ("data/review/generative.md", "evidence/x/log.csv"):
        assert (clone / name).read_text() == "text\n"
        assert not (clone / name).is_symlink()
    assert not (clone / "missing.md").exists()
    assert str(project / ".dvc/cache") in (clone / ".dvc/config.local").read_text()


def test_an_experiment_is_fetched_under_the_commit_that_it_starts_from(
    project: Path, tmp_path: Path
) -> None:
    head = run(project, "git", "rev-parse", "HEAD").stdout.strip()
    (project / "changed.txt").write_text("of the work tree\n")
    clone = clone_work_tree(tmp_path / "clone")
    experiment_clone.make_ready(clone, default_task("workshop"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone)
        for text in ("first\n", "second\n"):  # the second time after a kill
            (clone / "result.txt").write_text(text)
            experiment_clone._commit(["result.txt"], "experiment")
    for _ in range(2):
        experiment_clone.fetch(clone, "some-name")
    shutil.rmtree(clone)
    (reference,) = references("some-name")
    assert reference == f"refs/exps/{head[:2]}/{head[2:]}/some-name"
    assert run(project, "git", "rev-parse", f"{reference}~1").stdout.strip() == head
    show = ("git", "show", "--format=", "--name-only", reference)
    assert run(project, *show).stdout.split() == ["changed.txt", "result.txt"]
    assert run(project, "git", "show", f"{reference}:result.txt").stdout == "second\n"
    assert run(project, "dvc", "exp", "list", "--name-only").stdout.split()[-1] == "some-name"


def test_somebody_without_a_name_for_git_can_try_a_change(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "GIT_AUTHOR_NAME",
        "GIT_COMMITTER_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_EMAIL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    run(project, "git", "config", "user.useConfigOnly", "true")
    clone = clone_work_tree(tmp_path / "clone")
    experiment_clone.make_ready(clone, default_task("workshop"))
    assert run(clone, "git", "config", "user.name").stdout.strip()


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        ("", "train@a failed (exit status 2)"),
        ("one\ntrain@a: lower the learning rate\nlast\n", "train@a: lower the learning rate"),
        ("one\nlast\n", "last"),
    ],
)
def test_a_failure_is_the_line_of_the_stage(project: Path, printed: str, line: str) -> None:
    log = project / log_file("train@a")
    log.parent.mkdir(parents=True)
    log.write_text(printed)
    assert failure_line("train@a", 2) == line
