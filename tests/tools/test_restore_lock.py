"""A dvc.lock that a kill has damaged is put back from git, and nothing else is touched."""

import re
from pathlib import Path

import pytest
from support.project import ROOT, commit, refused, run

from stages.core.errors import UserError
from stages.tools.restore_lock import (
    DAMAGED,
    LOCK,
    RUNNING,
    damage,
    delete_damaged_table,
    restore_lock,
)

STAGES = re.split(r"(?m)^(?=  \S)", (ROOT / LOCK).read_text(encoding="utf-8"))
TEXT = "".join(STAGES[:5])  # the head and the first stages
COMMAND = ("python", "-m", "stages.tools.restore_lock")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a repository with the beginning of the project's dvc.lock."""
    (tmp_path / LOCK).write_text(TEXT, encoding="utf-8")
    (tmp_path / ".gitignore").write_text("/.dvc/\n")
    run(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "results")
    return tmp_path


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"# nothing\n",
        TEXT[: TEXT.index("      hash:", len(TEXT) // 2) + 8].encode(),
        TEXT[: TEXT.index("  cmd:") + 4].encode(),
        b"schema: '2.0'\nstages:\n  prepare@image:\n    cmd: x\n    de",
        TEXT.replace("schema: '2.0'", "schema: '1.0'").encode(),
        TEXT.encode("utf-16"),
        b"\x89\xff" + TEXT.encode(),
        b"\0" * 4096,
        b"- a\n- b\n",
    ],
    ids=range(11),
)
def test_a_damaged_lock_is_put_back_and_kept(project: Path, data: bytes) -> None:
    (project / LOCK).write_bytes(data)
    line = restore_lock(project)
    assert line.startswith("dvc.lock was damaged (")
    assert "\n" not in line
    assert (project / LOCK).read_text() == TEXT
    assert (project / DAMAGED).read_bytes() == data
    assert run(project, "git", "status", "--porcelain").stdout == ""
    assert restore_lock(project) == ""


def test_a_valid_lock_is_left_alone_also_with_uncommitted_changes(project: Path) -> None:
    for text in (
        TEXT,
        TEXT.replace("md5: ", "md5: 0"),
        "".join(STAGES[:3]),  # DVC runs the stages that are missing
        TEXT.replace("\n", "\r\n"),
    ):
        (project / LOCK).write_bytes(text.encode())
        assert restore_lock(project) == ""
        assert (project / LOCK).read_bytes() == text.encode()
    assert not (project / DAMAGED).exists()


def test_no_lock_and_a_folder_in_its_place_are_left_alone(project: Path) -> None:
    (project / LOCK).unlink()
    assert restore_lock(project) == ""
    assert not (project / LOCK).exists()
    (project / LOCK).mkdir()
    assert restore_lock(project) == ""


def test_an_unfinished_merge_is_left_to_the_user(project: Path) -> None:
    head, rest = TEXT.split("\n", 1)
    text = f"{head}\n<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n{rest}"
    (project / LOCK).write_text(text)
    with pytest.raises(
        UserError, match=r"merge conflicts; take one side \(git checkout --ours dvc\.lock"
    ):
        restore_lock(project)
    assert (project / LOCK).read_text() == text


def test_without_a_valid_one_in_git_the_user_is_told_what_to_do(project: Path) -> None:
    (project / LOCK).write_text("")
    commit(project, "damaged")
    line = refused(project, *_in(project))
    assert line.startswith(
        "restore: dvc.lock is damaged (it is empty), and git has no valid one (it is empty)"
    )
    assert "delete it (rm dvc.lock) and run the same command again" in line
    run(project, "git", "rm", "--quiet", "--cached", "dvc.lock")
    run(project, "git", "commit", "--quiet", "-m", "none")
    assert "git has no valid one (git show: " in refused(project, *_in(project))
    assert (project / LOCK).read_text() == ""


def _in(project: Path) -> tuple[str, ...]:
    """Return the command, run from the project's code in another folder."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    return ("python", "-c", f"{code}; from stages.tools.restore_lock import main; main()")


def test_every_truncation_is_either_damage_or_a_lock_that_dvc_takes() -> None:
    """A cut inside a line or an entry must not pass for a whole file with wrong content."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML

    start = TEXT[:3000]
    for length in range(0, len(start), 7):
        if damage(start[:length]):
            continue
        lock = YAML(typ="safe").load(start[:length])
        # DVC makes text of the start of a hash that has only digits so far.
        texts = [repr(item).replace("'", "") for item in (COMPILED_LOCKFILE_SCHEMA(lock), lock)]
        assert texts[0] == texts[1]


@pytest.mark.long
@pytest.mark.xdist_group("chain")
def test_dvc_takes_the_lock_that_was_put_back(prepared: Path) -> None:
    lock = (prepared / LOCK).read_bytes()
    (prepared / LOCK).write_bytes(lock[: lock.index(b"      hash:", len(lock) // 2) + 8])
    assert "dvc.lock' is invalid" in run(prepared, "dvc", "repro", status=255).stderr
    done = run(prepared, *COMMAND)
    assert done.stderr.count("\n") == 1
    assert "Running stage" not in run(prepared, "dvc", "repro").stdout
    assert (prepared / LOCK).read_bytes() == lock


def test_a_damaged_table_of_running_commands_is_deleted(tmp_path: Path) -> None:
    assert delete_damaged_table(tmp_path) == ""
    (tmp_path / RUNNING).parent.mkdir(parents=True)
    (tmp_path / RUNNING).write_text('{"read": {}}')
    assert delete_damaged_table(tmp_path) == ""
    assert (tmp_path / RUNNING).exists()
    for text in ("", '{"read": {'):
        (tmp_path / RUNNING).write_text(text)
        assert "was damaged" in delete_damaged_table(tmp_path)
        assert not (tmp_path / RUNNING).exists()
