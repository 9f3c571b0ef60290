"""`evidence verify ARCHIVE`: from that file alone, with the repository and its cache gone."""

import shutil
from pathlib import Path

import pytest
from support.archives import contents_of
from support.forgery import outside
from support.project import commit

from stages.core.errors import UserError
from stages.core.repositories import git
from stages.tools.archive.members import write_archive
from stages.tools.verify.command import run
from stages.tools.verify.verdicts import Verdict
from stages.tools.verify.verification import verify

TASK = "workshop"


@pytest.fixture(scope="module")
def alone(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of a finished project, which is gone."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(small, folder / "project", symlinks=True)
    write_archive(folder / "result.zip", contents_of(folder / "project").members())
    shutil.rmtree(folder / "project")
    return folder / "result.zip"


@pytest.mark.slow
def test_metrics_are_verified_from_the_archive_alone(alone: Path) -> None:
    report = verify(str(alone), "HEAD", last="metrics")
    assert report.status() == 0, outside(report, "hashes") | outside(report, "metrics")
    assert [tier.name for tier in report.tiers] == ["hashes", "metrics"]
    assert report.repository == "result.zip"
    assert report.notes == []
    assert report.coverage.recomputed


@pytest.mark.long
def test_predictions_are_verified_with_the_weights_of_the_archive(alone: Path) -> None:
    report = verify(str(alone), "HEAD", last="predictions", only=[TASK])
    assert report.status() == 0, [finding.reason for finding in report.stages()]
    verdicts = {finding.stage: finding.verdict for finding in report.tiers[-1].findings}
    assert verdicts[f"evaluate@{TASK}"] is Verdict.BITWISE
    assert verdicts[f"pack@{TASK}"] is Verdict.BITWISE


@pytest.mark.long
def test_an_archive_of_forged_results_is_outside(prepared: Path, tmp_path: Path) -> None:
    path = prepared / "metrics/metrics.json"
    path.write_text(path.read_text().replace('"accuracy": 0.', '"accuracy": 0.9', 1))
    commit(prepared, "forged")
    write_archive(tmp_path / "forged.zip", contents_of(prepared).members())
    report = verify(str(tmp_path / "forged.zip"), "HEAD", last="hashes")
    assert report.status() == 1
    assert "compare" in outside(report, "hashes")


def test_the_command_takes_an_archive_in_place_of_a_revision(
    alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stages.tools.cli import make_parser

    monkeypatch.chdir(alone.parent)
    parser = make_parser("verify")
    assert run(parser.parse_args(["result.zip", "--tier", "hashes"])) == 0
    assert "pack@workshop" in capsys.readouterr().out
    with pytest.raises(UserError, match="without --repo"):
        run(parser.parse_args(["result.zip", "--repo", "..", "--tier", "hashes"]))
    (alone.parent / "notes.txt").write_text("no archive")
    with pytest.raises(UserError, match=r"notes\.txt is no archive"):
        run(parser.parse_args(["notes.txt"]))


def test_a_name_of_a_file_and_of_a_revision_is_ambiguous(
    archived_toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.tools.cli import make_parser

    monkeypatch.chdir(archived_toy)
    git(archived_toy, "tag", "result")
    (archived_toy / "result").write_text("no archive")
    parser = make_parser("verify")
    with pytest.raises(UserError, match=r"give \./result for the file"):
        run(parser.parse_args(["result"]))
    with pytest.raises(UserError, match="is no archive"):
        run(parser.parse_args(["./result"]))
