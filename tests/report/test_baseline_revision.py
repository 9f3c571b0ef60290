"""The revision `baseline`: the same commit everywhere, and nothing else changed."""

from pathlib import Path

import pytest
from support.project import commit, run

from stages.core.errors import UserError
from stages.report.baseline_revision import create_baseline_revision

FILES = {"metrics/metrics.json": b"{}\n", "dvc.yaml": b"metrics: []\r\n", "plots/loss/é.csv": b""}
SHA = "3a7a4e77f5b366c7a825c7a2db124e3a4ecc86e8"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    run(tmp_path, "git", "config", "core.autocrlf", "true")
    (tmp_path / "staged.txt").write_text("a")
    commit(tmp_path, "a commit")
    (tmp_path / "staged.txt").write_text("b")
    run(tmp_path, "git", "add", "staged.txt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commit_is_the_same_everywhere(repository: Path) -> None:
    for _ in range(2):  # a second run replaces the tag
        assert create_baseline_revision("baseline", FILES) == SHA
    assert run(repository, "git", "rev-parse", "baseline").stdout.strip() == SHA
    names = run(repository, "git", "-c", "core.quotePath=off", "ls-tree", "-r", "--name-only", SHA)
    assert set(names.stdout.split()) == set(FILES)
    assert run(repository, "git", "status", "--porcelain").stdout == "M  staged.txt\n"


def test_a_tag_or_branch_of_the_user_is_kept(repository: Path) -> None:
    run(repository, "git", "branch", "baseline")
    with pytest.raises(
        UserError, match="refs/heads/baseline exists and the pipeline did not create it"
    ):
        create_baseline_revision("baseline", FILES)
