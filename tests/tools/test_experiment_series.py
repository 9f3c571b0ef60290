"""experiments.csv: rows stay, files of an earlier version are completed, and a draw has one series."""

import json
from pathlib import Path

import pandas as pd
import pytest
from support.project import commit, default_task, run

from stages.core.errors import UserError
from stages.evaluation.experiment_log import COLUMNS, LogRow, read_log
from stages.tools.confirmation import fresh_seed
from stages.tools.evaluation_count import count_test_evaluations
from stages.tools.experiment_series import Draw, append_to_log, completed_log

LOG = "evidence/workshop/experiments.csv"
DRAW = Draw("0", "01234567")
OLD = """date,change,why,before,after,verdict,kept
2026-11-24,a=1,"so, so",accuracy 0.5,accuracy 0.6,not distinguishable,no
2026-11-25,a=2,'=1+1,,,failed: broken,no
"""


def row(change: str, draw: Draw = DRAW, **cells: str) -> LogRow:
    return LogRow("2026-01-01", change, "=1+1", split_seed=draw.split_seed, data=draw.data, **cells)


def test_rows_are_appended_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = default_task("workshop")
    for _ in range(3):
        append_to_log(task, row("a=1", verdict='failed: "broken", twice'))
    table = read_log(tmp_path / LOG)
    assert table["verdict"].tolist() == ['failed: "broken", twice'] * 3
    assert table["why"].tolist() == ["=1+1"] * 3
    assert (tmp_path / LOG).read_text().count(",'=1+1,") == 3  # no formula for a spreadsheet
    (tmp_path / LOG).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="must have the columns date, change, why"):
        read_log(tmp_path / LOG)


def test_a_file_of_an_earlier_version_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / LOG).parent.mkdir(parents=True)
    (tmp_path / LOG).write_text(OLD)
    task = default_task("workshop")
    assert len(DRAW.rows(completed_log(task, DRAW), "validation")) == 2
    assert (tmp_path / LOG).read_text() == OLD  # reading changes nothing
    append_to_log(task, row("a=3", try_number="3"))
    table = pd.read_csv(tmp_path / LOG, dtype=str, keep_default_na=False)
    assert list(table) == COLUMNS
    assert table["change"].tolist() == ["a=1", "a=2", "a=3"]
    assert table["why"].tolist() == ["so, so", "'=1+1", "'=1+1"]
    assert table["try_number"].tolist() == ["1", "2", "3"]
    assert table["split_seed"].tolist() == ["0"] * 3
    assert table["p"].tolist() == [""] * 3
    # Once they have a draw, they stay on it.
    assert DRAW.rows(completed_log(task, Draw("1", "01234567")), "validation").shape[0] == 3


@pytest.mark.parametrize(
    ("draw", "validation", "test"),
    [
        (Draw("0", "a"), 2, 2),
        (Draw("1", "a"), 1, 1),
        (Draw("2", "a"), 0, 0),
        (Draw("0", "b"), 1, 1),
        (Draw("2", "a", frozenset({"test"})), 0, 3),
        (Draw("2", "a", frozenset({"validation", "test"})), 3, 3),
    ],
)
def test_the_series_is_that_of_the_draw(draw: Draw, validation: int, test: int) -> None:
    log = pd.DataFrame({"split_seed": list("0010"), "data": list("aaab")})
    assert len(draw.rows(log, "validation")) == validation
    assert len(draw.rows(log, "test")) == test


def test_a_fresh_draw_has_not_been_used() -> None:
    empty = pd.DataFrame(columns=COLUMNS, dtype=str)
    assert fresh_seed(Draw("0", "a"), empty) == "1"
    assert fresh_seed(Draw("5", "a"), empty) == "0"
    log = pd.DataFrame({"split_seed": ["0", "1"], "confirmation_seed": ["", "2"]})
    assert fresh_seed(Draw("3", "a"), log) == "4"


# --- how often test data were looked at
def pack(project: Path, epochs: int, *, seed: int = 0, message: str = "") -> None:
    """Write, and with a message commit, a pack of a task with these params."""
    data = project / "evidence/workshop/data"
    data.mkdir(parents=True, exist_ok=True)
    params = {
        "prepare": {"split": {"seed": seed}},
        "train": {"epochs": epochs},
        "pack": {"page_limit_mb": len(message)},  # on which no result depends
    }
    note = {"raw_sha256": "0123456789", "official_splits": {"splits": []}}
    (data / "params.json").write_text(json.dumps(params))
    (data / "dataset_note.json").write_text(json.dumps(note))
    if message:
        commit(project, message)


def test_evaluations_of_test_data_are_counted_from_git_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    pack(tmp_path, 1, message="first")
    pack(tmp_path, 2, message="second")
    pack(tmp_path, 1, message="the first again")
    pack(tmp_path, 9, seed=1, message="another draw")
    run(tmp_path, "git", "checkout", "--quiet", "-b", "aside")
    pack(tmp_path, 3, message="on a branch")
    run(tmp_path, "git", "checkout", "--quiet", "main")
    run(tmp_path, "git", "rm", "--quiet", "-r", "evidence")
    commit(tmp_path, "removed")
    pack(tmp_path, 4)
    task = default_task("workshop")

    def count(*rows: LogRow, draw: Draw = DRAW) -> int:
        log = pd.DataFrame([item.__dict__ for item in rows], columns=COLUMNS, dtype=str)
        return count_test_evaluations(task, draw, log)

    assert count() == 4  # 1, 2 and 3 epochs in git, 4 in the work tree
    assert count(draw=Draw("1", "01234567")) == 1
    assert count(draw=Draw("0", "another")) == 0
    ran = row("a=1", before="0.5", after="0.6")
    failed, kept = row("a=2"), row("a=3", before="0.5", after="0.7", kept="yes")
    assert count(ran, ran, failed, kept, row("a=4", Draw("1", "01234567"), after="1")) == 5
    assert count(row("a=1", before="0.5", after="0.6", test_evaluations="12")) == 12
