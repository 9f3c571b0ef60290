"""Honest repositories that a comparison of bytes would call forged, and others in old formats."""

import hashlib
from pathlib import Path

import pytest
from dvc_data.hashfile.hash_info import HashInfo
from support.project import commit
from support.toy import PIPELINE, make_project, reproduce, write_project
from test_any_repository import edit, verdicts

from stages.core.errors import UserError
from stages.tools.verify.line_ends import differs_in_line_ends
from stages.tools.verify.verification import verify

FILES = {
    "upper.py": "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read().upper())\n",
    "score.py": "open('metrics.json', 'w').write('{\"a\": 1}')\n",
    "raw.txt": "abc\ndef\n",
    "params.yaml": "right: 3\n",
    "dvc.yaml": PIPELINE,
}


def md5(content: bytes) -> HashInfo:
    return HashInfo("md5", hashlib.md5(content, usedforsecurity=False).hexdigest())


def test_a_text_may_have_other_line_ends_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\nb\n")
    assert differs_in_line_ends(path, md5(b"a\r\nb\r\n"))
    assert not differs_in_line_ends(path, md5(b"a\r\nc\r\n"))
    path.write_bytes(b"a\r\nb\r\n")
    assert differs_in_line_ends(path, md5(b"a\nb\n"))
    path.write_bytes(b"\0a\nb\n")
    assert not differs_in_line_ends(path, md5(b"\0a\r\nb\r\n"))
    assert not differs_in_line_ends(path, HashInfo("etag", "0"))


def test_a_repository_of_another_system_raises_no_alarm(tmp_path: Path) -> None:
    """Committed from a work tree with Windows line ends, which git stores as line feeds."""
    folder = tmp_path / "toy"
    files = {**FILES, "data/one.csv": "a,b\n", "data/two.csv": "c,d\n"}
    write_project(folder, files)
    edit(folder / "dvc.yaml", "[score.py, upper.txt]", "[score.py, upper.txt, data]")
    for name in ("raw.txt", "data/one.csv", "data/two.csv", "score.py"):
        path = folder / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    reproduce(folder)
    for name in ("raw.txt", "data/one.csv", "data/two.csv", "score.py"):
        path = folder / name
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    commit(folder, "from Windows")
    report = verify(str(folder), "HEAD")
    assert report.status() == 3
    assert {verdict for verdict, _ in verdicts(report).values()} <= {
        "bit for bit",
        "same predictions",
    }
    reasons = [finding.reason for finding in report.tiers[0].findings]
    assert any("with other line ends: " in reason for reason in reasons)
    (folder / "data/one.csv").write_text("a,forged\n")
    commit(folder, "forged")
    assert verify(str(folder), "HEAD", last="hashes").status() == 1


def test_lost_bytecode_is_no_forgery(tmp_path: Path) -> None:
    """DVC hashed a folder with bytecode in it, which git ignores."""
    folder = tmp_path / "toy"
    pipeline = "stages:\n  a:\n    cmd: cp src/a.txt a.txt\n    deps: [src]\n    outs: [a.txt]\n"
    write_project(folder, {"dvc.yaml": pipeline, "src/a.txt": "a", "src/b.pyc": "bytecode"})
    (folder / ".gitignore").write_text("*.pyc\n")

    reproduce(folder)
    commit(folder, "reproduced")
    report = verify(str(folder), "HEAD", last="hashes")
    assert report.status() == 2
    verdict, reason = verdicts(report)["a"]
    assert verdict == "not checked"
    assert "its hash is of 2 files, and git has 1" in reason


@pytest.mark.slow
def test_formats_of_old_releases_are_named(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "toy", FILES)
    (folder / "dvc.lock").write_text("upper:\n  cmd: python upper.py\n  deps: []\n")
    commit(folder, "DVC 1")
    with pytest.raises(UserError, match=r"^dvc\.lock has the format of DVC 1; run `dvc repro`"):
        verify(str(folder), "HEAD", last="hashes")
    (folder / "Dvcfile").write_text("cmd: python upper.py\n")
    commit(folder, "DVC 0")
    with pytest.raises(UserError, match="Dvcfile is a stage file of DVC 0"):
        verify(str(folder), "HEAD", last="hashes")
    (folder / "Dvcfile").unlink()
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: [1]\n")
    commit(folder, "damaged")
    with pytest.raises(UserError) as error:
        verify(str(folder), "HEAD", last="hashes")
    assert str(tmp_path) not in str(error.value)
    assert "evidence-first-scratch" not in str(error.value)


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)


def test_files_that_never_end_are_given_up(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "toy", FILES)
    (folder / "params.yaml").write_text(f"right: 3\n{BOMB}\n")
    commit(folder, "a bomb")
    with pytest.raises(
        UserError, match=r"params\.yaml: more than 5,000,000 values once its aliases"
    ):
        verify(str(folder), "HEAD", last="hashes")
    (folder / "params.yaml").write_text("right: 3\n")
    commit(folder, "none")
    with pytest.raises(UserError, match=r"took more than 0\.2 s or 8 GB of memory: nothing was"):
        verify(str(folder), "HEAD", last="hashes", seconds=0.2)
