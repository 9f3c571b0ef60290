"""Failure cases in plain words, for the strips and the browser of the page."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.report.document import Case, Picture
from stages.report.formatting import percent

if TYPE_CHECKING:
    from stages.report.stage_outputs import ClassificationOutputs

CASES_FILE = "data/failure_cases.csv"
_CHANGES = {
    "broken": "only the model is wrong",
    "persistent": "the baseline is wrong too",
    "fixed": "only the baseline is wrong",
    "kept": "both are right",
}
_MOST_GROUPS = 30  # that a filter lists


def failures_caption(outputs: "ClassificationOutputs") -> str:
    """Return how many test samples fail, as the caption of the first of them."""
    wrong, count = int((outputs.cases["kind"] == "wrong").sum()), outputs.metrics["n"]
    weakest = "" if wrong else ", so the least confident are shown"
    return f"It fails on {wrong:,} of {count:,} test samples{weakest}:"


def cases_extent(count: int, total: int) -> str:
    """Return how many of the cases are on the page."""
    return (
        f"All {total:,} failure cases"
        if count == total
        else f"{count:,} of {total:,} failure cases"
    )


def weak(row: Mapping[str, Any]) -> str:
    """Return the label of a correct sample of low confidence."""
    return f"{row['true']}, only {percent(row['confidence'], 0)} sure"


def spread(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Return `count` rows, evenly spaced from the first to the last, or all where there are fewer."""
    if len(rows) <= count:
        return list(rows)
    return [rows[round(place * (len(rows) - 1) / (count - 1))] for place in range(count)]


def runs_wrong(rate: float, seeds: int) -> str:
    """Return in how many runs a sample fails: "2 of 3 runs"."""
    return f"{round(rate * seeds)} of {seeds} runs"


def classification_case(
    row: Mapping[str, Any],
    outputs: "ClassificationOutputs",
    neighbours: tuple[str, Sequence[Picture | str]],
    *,
    picture: Picture | None = None,
    words: Sequence[tuple[str, float]] = (),
) -> Case:
    """Return a failure case of a classifier.

    Args:
        row: of the table of cases.
        outputs: of the stages before the pack.
        neighbours: the heading of the nearest training samples, and these.
        picture: of the sample, if it is an image.
        words: of the sample with their weights, if it is a text.
    """
    seeds = outputs.gain["seeds"]
    wrong = row["kind"] == "wrong"
    facets = {"true class": row["true"], "predicted": row["predicted"]}
    if row["bucket"] != f"{row['true']} → {row['predicted']}" and wrong:
        facets["bucket"] = row["bucket"]
    facets |= {"likely cause": row["cause"], "beside the baseline": row["change"]}
    keys = {"confidence": row["confidence"], "distance to training data": row["nearest_distance"]}
    if seeds > 1:
        facets["wrong in"] = runs_wrong(row["failure_rate"], seeds)
        keys["runs that are wrong"] = row["failure_rate"]
    for name in ("fold", "group"):
        if name in row and outputs.cases[name].nunique() <= _MOST_GROUPS:
            facets[name] = str(row[name])
    title = f"{row['true']} taken for {row['predicted']}" if wrong else weak(row)
    return Case(row["id"], title, case_lines(row, seeds), picture, words, neighbours, facets, keys)


def case_lines(row: Mapping[str, Any], seeds: int) -> list[str]:
    """Return the details of a failure case, as lines of its card; `seeds`: of how many there are models."""
    lines = [
        f"{percent(row['confidence'], 0)} sure; true class: {percent(row['probability_of_true'], 0)}",
        f"{row['change']}: {_CHANGES[row['change']]} (it predicts {row['baseline']})",
    ]
    if seeds > 1:
        lines.append(f"wrong in {runs_wrong(row['failure_rate'], seeds)}")
    return [*lines, f"likely cause: {row['cause']}"]
