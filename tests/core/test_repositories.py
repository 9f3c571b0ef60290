"""Git repositories of strangers: which commit a name means, and what never runs."""

from pathlib import Path

import pytest
from support.project import commit, run

from stages.core.errors import UserError
from stages.core.repositories import (
    clone_revision,
    count_changes,
    git,
    git_in_clone,
    resolve_revision,
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with two commits."""
    folder = tmp_path / "repository"
    folder.mkdir()
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    for text in ("first", "second"):
        (folder / "a.txt").write_text(text)
        commit(folder, text)
    return folder


def commits(repository: Path) -> tuple[str, str]:
    return git(repository, "rev-parse", "HEAD~1"), git(repository, "rev-parse", "HEAD")


def test_a_name_means_one_commit(repository: Path) -> None:
    first, second = commits(repository)
    git(repository, "tag", "v1", first)
    git(repository, "branch", "topic", second)
    for name, expected in (
        ("v1", first),
        ("refs/tags/v1", first),
        ("topic", second),
        ("topic~1", first),
        ("main^", first),
        ("HEAD", second),
        ("HEAD@{1}", first),
        ("", second),
        (":/first", first),
        (first, first),
        (first[:8], first),
        (f"{second[:8]}~1", first),
    ):
        if name:
            assert resolve_revision(repository, name) == expected, name
    git(repository, "branch", "v1", second)
    with pytest.raises(UserError, match=r"'v1' is ambiguous: refs/tags/v1 is .*, refs/heads/v1 is"):
        resolve_revision(repository, "v1")
    assert resolve_revision(repository, "refs/heads/v1") == second
    git(repository, "branch", "--force", "v1", first)
    assert resolve_revision(repository, "v1") == first  # both names mean it
    for name in ("nowhere", "nowhere~1", "refs/heads/nowhere", "--help"):
        with pytest.raises(UserError, match="has no revision"):
            resolve_revision(repository, name)


def test_a_full_hash_is_a_hash_whatever_branches_are_called(
    repository: Path, tmp_path: Path
) -> None:
    first, second = commits(repository)
    git(repository, "update-ref", f"refs/heads/{first}", second)
    git(repository, "update-ref", f"refs/heads/{first[:9]}", second)
    for number, source in enumerate((str(repository), repository.as_uri())):
        assert clone_revision(source, first, tmp_path / f"clone-{number}") == first
        with pytest.raises(UserError, match="is ambiguous"):
            clone_revision(source, first[:9], tmp_path / f"other-{number}")


def test_any_ref_of_a_url_can_be_cloned(repository: Path, tmp_path: Path) -> None:
    first, second = commits(repository)
    git(repository, "update-ref", "refs/pull/7/head", first)
    git(repository, "update-ref", "refs/heads/main", first)
    git(repository, "update-ref", "refs/heads/later", second)
    url = repository.as_uri()
    assert clone_revision(url, "refs/pull/7/head", tmp_path / "a") == first
    assert clone_revision(url, "refs/heads/later", tmp_path / "b") == second
    assert clone_revision(url, "later", tmp_path / "c") == second
    assert clone_revision(url, "HEAD", tmp_path / "d") == first


def test_programs_that_a_repository_names_do_not_run(repository: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    program.chmod(0o755)
    included = tmp_path / "included"
    included.write_text(f"[core]\n\tfsmonitor = {program}\n\tsshCommand = {program}\n")
    for name in ("clean", "smudge", "process"):
        git(repository, "config", f"filter.evil.{name}", str(program))
    git(repository, "config", "core.fsmonitor", str(program))
    git(repository, "config", "diff.external", str(program))
    git(repository, "config", "include.path", str(included))
    hooks = repository / ".git/hooks"
    for name in ("post-checkout", "pre-commit", "post-index-change", "reference-transaction"):
        (hooks / name).write_text(program.read_text())
        (hooks / name).chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=evil diff=evil\n")
    git(repository, "-c", "filter.evil.clean=cat", "add", ".gitattributes")
    canary.unlink(missing_ok=True)
    (repository / "a.txt").write_text("changed")
    (repository / "new.txt").write_text("new")
    clone = tmp_path / "clone"
    clone_revision(str(repository), "HEAD", clone)
    assert count_changes(repository, clone) == 3
    assert not canary.exists()
    with pytest.raises(UserError, match="transport 'ext' not allowed"):
        clone_revision(f"ext::sh -c touch% {canary}", "HEAD", tmp_path / "other")
    assert not canary.exists()


def test_what_git_knows_of_a_clone_is_not_in_it(repository: Path, tmp_path: Path) -> None:
    """A program that may write to the clone cannot change what was committed."""
    first, second = commits(repository)
    clone = tmp_path / "clone"
    assert clone_revision(str(repository), "HEAD", clone) == second
    clone_revision(str(repository), first, tmp_path / "forged")
    (clone / ".git").write_text(f"gitdir: {tmp_path / 'forged.git'}\n")
    assert git(clone, "rev-parse", "HEAD") == first
    assert git_in_clone(clone, "rev-parse", "HEAD") == second
