"""Which files count as code, and which of them differ from trusted ones."""

import shutil
from pathlib import Path

import pytest
from support.project import commit, run

from stages.tools.verify import code
from stages.tools.verify.dvc_config import split_config


@pytest.mark.parametrize(
    "path",
    [
        "stages/pack.py",
        "stages/report/page.html.jinja",
        "pandas/__init__.pyc",
        "sitecustomize.py",
        "usercustomize.py",
        "evil.pth",
        "dataset.abi3.so",
        "lib/libx.so.6",
        "data/raw/helper.PY",
        "dvc.yaml",
        "sub/dvc.yaml",
        "data/.dvcignore",
        ".dvcignore",
        ".gitattributes",
        ".dvc/config",
        ".dvc/config.local",
        ".dvc/tmp",
        "Makefile",
        "run.sh",
    ],
)
def test_what_can_run_is_code(path: str) -> None:
    assert code.is_code(path)


@pytest.mark.parametrize(
    "path",
    [
        "params.yaml",
        "dvc.lock",
        "README.md",
        "data/raw/a.csv",
        "evidence/image/index.html",
        "tests/test_pack.py",
        "docs/plot.py",
        ".github/workflows/verify.yml",
        "photos.dvc",
    ],
)
def test_data_pages_and_tests_are_no_code(path: str) -> None:
    assert not code.is_code(path)
    assert code.is_code(f"bin/{path}", mode="100755")


@pytest.fixture
def revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with the code of a small project that verifies."""
    verifier = tmp_path / "verifier"
    files = {
        "stages/pack.py": "made = 1\n",
        "stages/__init__.py": "",
        "dvc.yaml": "stages: {}\n",
        ".dvcignore": "*.pyc\n",
        ".dvc/config": "[core]\n    autostage = false\n",
    }
    for name, text in files.items():
        (verifier / name).parent.mkdir(parents=True, exist_ok=True)
        (verifier / name).write_text(text)
    monkeypatch.setattr(code, "CODE", verifier)
    folder = tmp_path / "revision"
    shutil.copytree(verifier, folder)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder, "the same")
    return folder


def changes(folder: Path, base: str = "") -> dict[str, str]:
    commit(folder, "changed")
    return {item.path: item.change for item in code.code_differences(folder, base)}


def test_every_change_of_code_is_named(revision: Path) -> None:
    first = run(revision, "git", "rev-parse", "HEAD").stdout.strip()
    (revision / "notes.txt").write_text("no code")
    assert changes(revision) == {}
    (revision / "stages/pack.py").write_text("made = 2\n")
    (revision / "yaml.py").write_text("is imported first")
    (revision / "stages/__pycache__").mkdir()
    (revision / "stages/__pycache__/pack.cpython-311.pyc").write_bytes(b"\0")
    (revision / ".dvcignore").unlink()
    expected = {
        "stages/pack.py": "differs",
        "yaml.py": "added",
        "stages/__pycache__/pack.cpython-311.pyc": "added",
        ".dvcignore": "missing",
    }
    assert changes(revision) == expected
    assert changes(revision, base=first) == expected
    assert changes(revision, base="HEAD") == {}


def test_line_ends_and_remotes_are_no_change(revision: Path) -> None:
    (revision / "stages/pack.py").write_bytes(b"made = 1\r\n")
    config = (
        "[core]\n    autostage = false\n    remote = far\n['remote \"far\"']\n    url = s3://x\n"
    )
    (revision / ".dvc/config").write_text(config)
    assert changes(revision) == {}
    (revision / ".dvc/config").write_text(f"{config}[cache]\n    dir = /elsewhere\n")
    assert changes(revision) == {".dvc/config": "differs"}


def test_only_remotes_are_kept_of_a_configuration() -> None:
    text = (
        "[core]\n    remote = far\n    site_cache_dir = /x\n['remote \"far\"']\n    url = s3://x\n"
        "    configpath = ../credentials-of-a-program\n    keyfile=/x\n    verify = false\n"
        "[cache]\n    dir = /x\n[state]\ndir = /x\n"
    )
    remotes, others = split_config(text)
    section = ["['remote \"far\"']", "verify = true", "url = s3://x"]
    assert remotes == [*section, "[core]", "remote = far"]
    assert others == ["[cache] dir=/x", "[core] site_cache_dir=/x", "[state] dir=/x"]
    assert split_config("") == ([], [])


def test_code_and_bytecode_can_be_deleted(revision: Path) -> None:
    (revision / "stages/__pycache__").mkdir()
    (revision / "stages/__pycache__/pack.cpython-311.pyc").write_bytes(b"\0")
    commit(revision, "bytecode")
    code.delete_bytecode(revision)
    assert not list(revision.rglob("*.pyc"))
    code.delete_code(revision)
    left = {path.relative_to(revision).as_posix() for path in revision.rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith(".git/")} == {
        "dvc.yaml",
        ".dvcignore",
        ".dvc/config",
    }
