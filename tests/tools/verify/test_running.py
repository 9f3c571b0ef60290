"""Stages run again: held against dvc.lock in order, twice where they disagree, and in the sandbox."""

from pathlib import Path

import pytest
from support.forgery import relock
from support.project import commit
from support.toy import make_project, reproduce, write_project
from test_any_repository import edit, verdicts

from stages.tools.verify.failure_reason import failure_reason
from stages.tools.verify.verification import verify

SPOILED = """
stages:
  baseline:
    cmd: echo 0.9 > baseline.txt
    outs: [baseline.txt]
  between:
    cmd: {command} && echo done > between.txt
    deps: [baseline.txt]
    outs: [between.txt]
  score:
    cmd: cp baseline.txt score.txt
    deps: [baseline.txt, between.txt]
    outs: [score.txt]
"""


def write(folder: Path, pipeline: str, **files: str) -> None:
    write_project(folder, {"dvc.yaml": pipeline, **files})


@pytest.mark.parametrize(
    "command",
    [
        "echo 0.2 > baseline.txt",
        "echo 0.2 > b && touch -r baseline.txt b && mv b baseline.txt",
    ],
)
def test_a_later_stage_cannot_change_an_output_unseen(tmp_path: Path, command: str) -> None:
    """The lock holds the spoiled file, so its hash alone is right in the end."""
    folder = make_project(tmp_path / "toy", {"dvc.yaml": SPOILED.format(command=command)})
    relock(folder)
    commit(folder, "spoiled")
    report = verify(str(folder), "HEAD")
    assert report.status() == 1
    results = verdicts(report)
    assert results["baseline"][0] == "outside"
    assert results["between"] == (
        "outside",
        "baseline.txt: between changed it, and it is no output of it",
    )


def test_a_stage_cannot_change_code_or_data_in_git(tmp_path: Path) -> None:
    pipeline = SPOILED.format(command="echo 'print(1)' > score.py && echo x >> raw.txt")
    pipeline = pipeline.replace("cp baseline.txt score.txt", "python score.py > score.txt")
    pipeline = pipeline.replace("[baseline.txt, between.txt]", "[raw.txt, between.txt, score.py]")
    files = {"dvc.yaml": pipeline, "score.py": "print(2)\n", "raw.txt": "raw\n"}
    folder = make_project(tmp_path / "toy", files)
    report = verify(str(folder), "HEAD")
    assert report.status() == 1
    assert verdicts(report)["between"][0] == "outside"


@pytest.mark.slow
def test_a_random_stage_is_told_from_a_forged_one(tmp_path: Path) -> None:
    pipeline = (
        "stages:\n  fit:\n    cmd: python fit.py\n    deps: [fit.py]\n    outs: [fit.txt]\n"
        "  after:\n    cmd: cp fit.txt after.txt\n    deps: [fit.txt]\n    outs: [after.txt]\n"
    )
    random = "import os; open('fit.txt', 'w').write(os.urandom(9).hex())\n"
    folder = make_project(tmp_path / "toy", {"dvc.yaml": pipeline, "fit.py": random})
    report = verify(str(folder), "HEAD")
    assert report.status() == 2
    for verdict, reason in verdicts(report).values():
        assert verdict == "not checked"
        assert "fit is not deterministic: two runs here give two versions of fit.txt" in reason
    (folder / "fit.py").write_text("open('fit.txt', 'w').write('constant')\n")
    relock(folder)
    commit(folder, "forged")
    report = verify(str(folder), "HEAD")
    assert report.status() == 1
    assert verdicts(report)["fit"][0] == "outside"


def test_stages_run_confined_and_what_they_leave_harms_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "b.txt").write_text("precious")
    pipeline = (
        "stages:\n"
        "  a:\n    cmd: sh a.sh\n    deps: [a.sh]\n    outs: [a.txt]\n"
        "  b:\n    cmd: echo b > sub/b.txt\n    deps: [a.txt]\n    outs: [sub/b.txt]\n"
    )
    harmless = "echo a > a.txt\nmkdir -p sub\n"
    folder = make_project(
        tmp_path / "toy", {"dvc.yaml": pipeline, "a.sh": harmless, "sub/keep": ""}
    )
    evil = (
        f"echo a > a.txt\ntouch {tmp_path}/canary\n"
        f"rm -rf sub .git .dvc && ln -s {precious} sub && ln -s {precious} .dvc\n"
    )
    (folder / "a.sh").write_text(evil)
    relock(folder)
    commit(folder, "evil")
    report = verify(str(folder), "HEAD")
    assert report.status() != 0
    assert not (tmp_path / "canary").exists()
    assert [path.name for path in precious.iterdir()] == ["b.txt"]
    assert (precious / "b.txt").read_text() == "precious"


def test_pipes_among_outputs_are_not_read(tmp_path: Path) -> None:
    pipeline = "stages:\n  a:\n    cmd: CMD\n    outs: [a]\n"
    folder = tmp_path / "toy"
    write(folder, pipeline.replace("CMD", "mkdir -p a && echo x > a/file"))
    reproduce(folder)
    edit(folder / "dvc.yaml", "echo x > a/file", "mkfifo a/pipe")
    commit(folder, "a pipe")
    verdict, reason = verdicts(verify(str(folder), "HEAD"))["a"]
    assert verdict in {"not checked", "outside"}
    assert "pipe" in reason or "command" in reason


def test_code_that_differs_is_not_run_without_approval(tmp_path: Path) -> None:
    pipeline = (
        f"stages:\n  a:\n    cmd: touch {tmp_path}/canary && echo a > a.txt\n    outs: [a.txt]\n"
    )
    folder = make_project(tmp_path / "toy", {"dvc.yaml": pipeline})
    (tmp_path / "canary").unlink()
    reasons: list[str] = []

    def refuse(reason: str) -> bool:
        reasons.append(reason)
        return False

    report = verify(str(folder), "HEAD", approve=refuse)
    assert report.status() == 2
    assert [tier.name for tier in report.tiers] == ["hashes"]
    assert "3 files differ from this verifier's" in reasons[0]
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (
            "Traceback (most recent call last):\nModuleNotFoundError: No module named 'x'\nsee y\n",
            "ModuleNotFoundError: No module named 'x' (exit status 1)",
        ),
        ("ERROR: no space\nmore\n", "ERROR: no space (exit status 1)"),
        ("a\nb\n", "b (exit status 1)"),
        ("", "from stdout (exit status 1)"),
    ],
)
def test_the_reason_of_a_failure_is_the_programs_own(errors: str, reason: str) -> None:
    assert failure_reason(errors, "from stdout\n", 1) == reason


def test_a_failure_for_lack_of_rights_says_what_a_stage_may_do() -> None:
    reason = failure_reason("OSError: [Errno 30] Read-only file system: '/x'\n", "", 1)
    assert reason.endswith("it ran without network and could write to the clone only)")
