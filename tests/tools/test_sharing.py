"""A remote on S3 that several machines share, as docs/sharing.md says: push, clone, pull, verify."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import environment, evidence, run
from support.s3 import REMOTE, S3Server, add_remote, s3_server

from stages.core.params import read_yaml
from stages.core.processes import run_command
from stages.tools.dvc_errors import dvc_error
from stages.tools.verify.verdicts import Verdict
from stages.tools.verify.verification import verify

TASK = "workshop"
KEY = "AWS_SECRET_ACCESS_KEY"
WEIGHTS = b"weights of image"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Return a server whose user is the one of the environment."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "aws").touch()
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "aws"))
    with s3_server() as server:
        for name, value in server.credentials.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def toy(archived_toy: Path, server: S3Server) -> Path:
    """Return a small repository with a remote to which nothing has been pushed."""
    add_remote(archived_toy, server)
    return archived_toy


@pytest.fixture
def pushed(small: Path, tmp_path: Path, server: S3Server) -> Path:
    """Return a finished project whose outputs have been pushed."""
    project = shutil.copytree(small, tmp_path / "project", symlinks=True)
    add_remote(project, server)
    run(project, "dvc", "push")
    return project


def clone_of(project: Path, folder: Path) -> Path:
    """Return a clone of a project: its commit alone, without its cache."""
    run(folder, "git", "clone", "--quiet", str(project), "second")
    return folder / "second"


def failed(project: Path, *command: str) -> str:
    """Run a DVC command that must fail; return why."""
    result = run_command(project, "dvc", *command)
    assert result.returncode in {1, 255}
    return dvc_error(result.stderr)


def outputs(project: Path) -> dict[str, bytes]:
    """Return the files that the stages of the small repository make, and the data, by path."""
    files = [*project.glob("data/[pt]r*/*/*"), *project.glob("photos/*")]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}


@pytest.mark.long
def test_a_second_clone_runs_nothing_and_verifies(pushed: Path, tmp_path: Path) -> None:
    second = clone_of(pushed, tmp_path)
    shutil.rmtree(pushed / ".dvc/cache")
    run(second, "dvc", "pull")
    # `compare` may run: git keeps no empty folder, and no task here draws the charts of generators.
    assert f"@{TASK}" not in evidence(second, "repro")
    assert run(second, "git", "status", "--porcelain").stdout == ""
    report = verify(str(second), "HEAD", last="metrics")
    assert report.status() == 0
    assert report.coverage.recomputed


@pytest.mark.long
@pytest.mark.parametrize("remote", ["", REMOTE])
def test_a_clone_without_a_cache_is_verified_from_the_remote(
    remote: str, pushed: Path, tmp_path: Path
) -> None:
    """Verify fetches before it gives the network up: weights and data are there when stages run."""
    second = clone_of(pushed, tmp_path)
    shutil.rmtree(pushed / ".dvc/cache")
    report = verify(str(second), "HEAD", last="predictions", remote=remote)
    assert report.status() == 0, [finding.reason for finding in report.stages()]
    verdicts = {finding.stage: finding.verdict for finding in report.tiers[-1].findings}
    assert verdicts[f"evaluate@{TASK}"] is Verdict.BITWISE


@pytest.mark.long
@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ("credentials", "403"),
        ("connection", "Connection was closed before we received a valid response"),
        ("object", f"data/train/{TASK}: damaged in the remote"),
    ],
)
def test_verify_says_why_it_has_no_weights(
    problem: str,
    reason: str,
    pushed: Path,
    server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = clone_of(pushed, tmp_path)
    if problem == "credentials":
        monkeypatch.setenv(KEY, "wrong")
    elif problem == "connection":
        server.stop_after = 0
    else:
        weights = next((pushed / "data/train" / TASK).rglob("weights-0.safetensors"))
        server.damage(weights.read_bytes())
    report = verify(str(second), "HEAD", last="predictions")
    findings = [item for item in report.tiers[-1].findings if item.stage.endswith(f"@{TASK}")]
    assert {finding.verdict for finding in findings} == {Verdict.UNCHECKED}
    (text,) = {finding.reason for finding in findings}
    assert text.startswith("no weights: ")
    assert reason in text
    assert report.status() == 2


@pytest.mark.long
def test_wrong_credentials_lose_nothing(
    toy: Path, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = outputs(toy)
    right = environment()[KEY]
    monkeypatch.setenv(KEY, "wrong")
    assert "403" in failed(toy, "push")
    assert outputs(toy) == before
    monkeypatch.setenv(KEY, right)
    assert server.objects() == {}
    run(toy, "dvc", "push")
    second = clone_of(toy, tmp_path)
    monkeypatch.delenv(KEY)
    assert "credentials" in failed(second, "pull")
    assert outputs(second) == {}
    monkeypatch.setenv(KEY, right)
    run(second, "dvc", "pull")
    assert outputs(second) == before


@pytest.mark.long
def test_a_lost_connection_loses_nothing(toy: Path, server: S3Server, tmp_path: Path) -> None:
    before = outputs(toy)
    server.stop_after = 12
    assert failed(toy, "push").startswith(
        "Connection was closed before we received a valid response"
    )
    server.stop_after = None
    partial = server.objects()
    run(toy, "dvc", "push")
    assert partial.items() < server.objects().items()
    second = clone_of(toy, tmp_path)
    server.stop_after = 12
    assert failed(second, "pull").startswith("Connection was closed")
    server.stop_after = None
    run(second, "dvc", "pull")
    assert outputs(second) == outputs(toy) == before


@pytest.mark.long
def test_a_damaged_object_is_not_taken(toy: Path, server: S3Server, tmp_path: Path) -> None:
    run(toy, "dvc", "push")
    name = server.damage(WEIGHTS)
    second = clone_of(toy, tmp_path)
    assert failed(second, "pull") == "data/train/image: damaged in the remote"
    path = "data/train/image/weights-0.safetensors"
    assert path not in outputs(second)
    assert outputs(second).items() < outputs(toy).items()
    # The remedy of docs/sharing.md: delete the object and the listing of its folder, and push again.
    lock = read_yaml(toy / "dvc.lock")["stages"]["train@image"]
    for md5 in (name, lock["outs"][0]["md5"]):
        server.delete(md5)
    run(toy, "dvc", "push")
    run(second, "dvc", "pull")
    assert outputs(second) == outputs(toy)


def test_the_reason_is_found_among_the_lines_of_dvc() -> None:
    connection = (
        "ERROR: failed to connect to s3 (b/files/md5) - Forbidden: a 403\n"
        "ERROR: failed to pull data from the cloud - 14 files failed to download\n"
    )
    assert dvc_error(connection) == "failed to connect to s3 (b/files/md5) - Forbidden: a 403"
    advice = "ERROR: unexpected error - no key\n\nHaving any troubles? Hit us up, we are happy\n"
    assert dvc_error(advice) == "no key"
    assert dvc_error("a warning\n") == ""
    checkout = (
        "ERROR: failed to pull data from the cloud - Checkout failed for following targets:\n"
        "data/a\ndata/b\nIs your cache up to date?\n<https://error.example/missing-files>\n"
    )
    assert dvc_error(checkout) == "data/a data/b: damaged in the remote"
    missing = f"WARNING: Some files do not exist. Missing cache files:\nmd5: 0, n\n{checkout}"
    assert dvc_error(missing) == "data/a data/b: missing in the remote"
