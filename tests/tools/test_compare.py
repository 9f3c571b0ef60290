"""`evidence compare`: the table, and the revision `baseline` that it makes anew."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.project import evidence, evidence_refused, run

from stages.tools.compare.metric_changes import metric_rows, table_lines

BEFORE: dict[str, Any] = {"image": {"accuracy": 0.5, "accuracy_low": 0.4, "extra": {"groups": 7}}}
CURRENT: dict[str, Any] = {
    "image": {
        "accuracy": 0.75,
        "accuracy_low": 0.6,
        "extra": {"groups": 7},
        "step": 500,
        "improvement": {"gain": 0.25, "verdict": "better"},
    },
    "photos": {"accuracy": 0.25, "improvement": {"verdict": "worse"}},
}


def test_the_table_shows_each_metric_before_and_after() -> None:
    assert table_lines(("baseline", "current"), BEFORE, CURRENT) == [
        "task    metric        baseline  current   change",
        "image   accuracy        0.5000   0.7500  +0.2500",
        "image   extra.groups         7        7        0",
        "image   step                 -      500        -",
        "image   verdict              -   better",
        "photos  accuracy             -   0.2500        -",
        "photos  verdict              -    worse",
    ]


def test_a_task_that_is_gone_is_shown_too() -> None:
    lines = table_lines(("HEAD", "current"), CURRENT, BEFORE)
    assert lines[1].split() == ["image", "accuracy", "0.7500", "0.5000", "-0.2500"]
    assert lines[-1].split() == ["photos", "verdict", "worse", "-"]


@pytest.mark.parametrize("metrics", [{"image": None}, {"image": []}, {"image": 0.5}, {}])
def test_metrics_of_another_form_are_no_error(metrics: dict[str, Any]) -> None:
    assert table_lines(("HEAD", "current"), metrics, metrics)[0].startswith("task")


def test_intervals_stand_beside_the_values_that_have_both_bounds() -> None:
    metrics = {"recall": 0.5, "recall_low": 0.25, "recall_high": 0.75, "precision": 1.0}
    rows = metric_rows(metrics, {**metrics, "recall": 0.625}, intervals=True)
    assert rows == [
        ("recall", "0.5000 (0.2500 to 0.7500)", "0.6250 (0.2500 to 0.7500)", "+0.1250"),
        ("precision", "1.0000", "1.0000", "0"),
        ("verdict", "-", "-", ""),
    ]


def test_the_baseline_revision_is_made_anew_where_it_is_missing(prepared: Path) -> None:
    run(prepared, "git", "tag", "--delete", "baseline")
    table = evidence(prepared, "compare").split("\n")
    metrics = json.loads((prepared / "metrics/metrics.json").read_text())
    baseline = json.loads(run(prepared, "git", "show", "baseline:metrics/metrics.json").stdout)
    row = next(line.split() for line in table if line.startswith("image ") and "accuracy" in line)
    values = [content["image"]["accuracy"] for content in (baseline, metrics)]
    assert row[2:4] == [f"{value:.4f}" for value in values]
    line = evidence_refused(prepared, "compare", "HEAD:README.md")
    assert "git knows none by that name" in line
