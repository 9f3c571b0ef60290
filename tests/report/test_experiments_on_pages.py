"""The experiments that a page lists: the latest ones, in words, as plain text."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.project import default_task

from stages.core.errors import UserError
from stages.core.files import write
from stages.evaluation.experiment_log import LOG, LogRow, to_table
from stages.report.document import Document, Facts, Headline, Link, Section, Text
from stages.report.rendering import render_markdown, render_page
from stages.report.sections import next_step_section

TRY = LogRow(
    "2026-01-01",
    "tasks.workshop.train.epochs=1",
    "a <b>try</b>",
    "accuracy 0.5 (n 9)",
    "accuracy 0.6 (n 9)",
    "better",
)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the workshop's log, which is missing."""
    monkeypatch.chdir(tmp_path)
    return default_task("workshop").evidence / LOG


def section() -> Section:
    step = {"why": "because", "command": "evidence x", "summary": "x"}
    outputs: Any = SimpleNamespace(task=default_task("workshop"), next_step=step)
    return next_step_section(outputs)


@pytest.mark.parametrize("content", ["", ",".join(LogRow.__dataclass_fields__) + "\n"])
def test_an_empty_log_is_said(log: Path, content: str) -> None:
    log.parent.mkdir(parents=True)
    log.write_text(content)
    text = section().blocks[-1]
    assert isinstance(text, Text)
    assert text.text.endswith("also where the change failed: there is none yet.")


def test_experiments_are_listed_the_latest_first(log: Path) -> None:
    failed = LogRow(
        "2026-01-02", "tasks.workshop.train.epochs=2", "more", verdict="failed: stopped"
    )
    write(log, to_table([replace(TRY, kept="yes"), failed]))
    text, facts, link = section().blocks[-3:]
    assert text == Text("Experiments on validation data: 2:")
    results = f"{TRY.before} → {TRY.after}: better, kept (2026-01-01). Expected: {TRY.why}"
    assert facts == Facts(
        [
            ("train.epochs=2", "failed: stopped (2026-01-02). Expected: more"),
            ("train.epochs=1", results),
        ]
    )
    assert link == Link(f"All experiments: {LOG}", LOG)
    document = Document("title", Headline("x", "better"), "summary", [section()])
    assert "a &lt;b&gt;try&lt;/b&gt;" in render_page(document, 1.0)
    assert "<b>" not in render_markdown(document)


def test_a_long_log_is_cut_to_the_latest(log: Path) -> None:
    rows = [replace(TRY, change=f"tasks.workshop.train.epochs={number}") for number in range(30)]
    write(log, to_table(rows))
    text, facts, _ = section().blocks[-3:]
    assert text == Text("Experiments on validation data: 30; the latest 5:")
    assert isinstance(facts, Facts)
    assert [change for change, _ in facts.rows] == [f"train.epochs={n}" for n in range(29, 24, -1)]


def test_a_damaged_log_gets_one_line(log: Path) -> None:
    log.parent.mkdir(parents=True)
    log.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"experiments\.csv: must have the columns date, change"):
        section()
