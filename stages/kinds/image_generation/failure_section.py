"""The failing samples of a generator, and how much more often they fail than real images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.evaluation.significance import difference_interval
from stages.evaluation.slices import interval_verdict
from stages.report import charts, pictures
from stages.report.cases import CASES_FILE, cases_extent, spread
from stages.report.document import Block, Case, Cases, Facts, Figure, Section, Strip, Tile
from stages.report.formatting import percent, points, points_range, table_rows

if TYPE_CHECKING:
    from stages.kinds.image_generation.outputs import GenerationOutputs

_MOST_CASES, _FIRST = 300, 8
_JUDGED = {
    "blurred": "blurred",
    "broken": "not recognised",
    "collapsed": "like others",
    "copied": "copied",
}


def failures_section(
    outputs: "GenerationOutputs", samples: np.ndarray, images: np.ndarray
) -> Section:
    """Return the criteria, and the failing samples, each beside its nearest neighbour.

    Args:
        outputs: of the stages before the pack.
        samples: (n, channel, height, width), uint8.
        images: the packed array.
    """
    rows = table_rows(outputs.cases.head(_MOST_CASES))
    cases = [_case(row, samples, images) for row in rows]
    caption = f"{cases_extent(len(cases), len(outputs.cases))}, the most frequent kind first."
    rules = outputs.cases.drop_duplicates("bucket")
    criteria = [(row["bucket"].capitalize(), row["cause"]) for row in table_rows(rules)]
    blocks: list[Block] = [Facts(criteria), Cases(caption, cases, len(outputs.cases), CASES_FILE)]
    return Section("fails", "What fails", blocks)


def failure_strip(outputs: "GenerationOutputs", samples: np.ndarray) -> Strip:
    """Return the first failing samples of each kind, in turn; arguments as of `failures_section`."""
    summary = outputs.summary
    turns = outputs.cases.assign(turn=outputs.cases.groupby("bucket").cumcount())
    first = turns.sort_values("turn", kind="stable").head(_FIRST)
    tiles = [
        Tile(
            f"case-{number:02}.png",
            pictures.sample_picture(samples[row["place"]], f"Sample {row['id']}"),
            _title(row),
            _case_id(row),
        )
        for number, row in enumerate(table_rows(first), start=1)
    ]
    count, total = summary["failure_case_count"], summary["samples"]
    return Strip(f"{count} of {total} samples fail at least one criterion:", tiles)


def success_strip(outputs: "GenerationOutputs", samples: np.ndarray) -> Strip:
    """Return samples that fail no criterion; arguments as of `failures_section`."""
    tiles = [
        Tile(
            f"right-{number:02}.png",
            pictures.sample_picture(samples[row["place"]], f"Sample {row['id']}"),
            f"asked for {row['true']}, {percent(row['confidence'], 0)} sure",
        )
        for number, row in enumerate(spread(table_rows(outputs.successes), _FIRST), start=1)
    ]
    caption = "These fail none, evenly from the highest to the lowest probability of their class:"
    return Strip(caption, tiles)


def excess_rows(outputs: "GenerationOutputs") -> pd.DataFrame:
    """Return by how much more often samples fail than real images, by kind of failure.

    Returns:
        name, share, real, gain (real minus samples, in points), low, high (corrected for the number of
        kinds), verdict.
    """
    summary, rows = outputs.summary, []
    alpha = (1 - outputs.task.params.evaluate.confidence) / len(summary["buckets"])
    for name, count in summary["buckets"].items():
        real = summary["shares_of_real"][name]
        low, high = difference_interval(
            (real, outputs.metrics["n_validation"]),
            (count / summary["samples"], summary["samples"]),
            alpha,
        )
        share = count / summary["samples"]
        rows.append(
            {
                "name": name,
                "share": share,
                "real": real,
                "gain": 100 * (real - share),
                "low": 100 * low,
                "high": 100 * high,
                "verdict": interval_verdict(low, high),
            }
        )
    return pd.DataFrame(rows)


def excess_figure(outputs: "GenerationOutputs") -> Figure:
    """Return the chart of `excess_rows`."""
    rows = excess_rows(outputs).sort_values("gain", kind="stable")
    values = "; ".join(f"{row['name']} {-row['gain']:+.1f} points" for row in table_rows(rows))
    return Figure(
        "excess.svg",
        charts.differences(rows, "real images minus samples, points of failing"),
        f"How much more often samples fail than real images: {values}.",
        f"Share of validation images that fail a criterion minus that of samples, in points: left of the "
        f"line, samples fail more often. Intervals corrected for {len(rows)} criteria.",
    )


def worst_line(outputs: "GenerationOutputs") -> str:
    """Return the kind of failure with the largest excess over real images, in a sentence."""
    row = table_rows(excess_rows(outputs).sort_values(["high", "gain"], kind="stable"))[0]
    if row["gain"] >= 0:
        return "Samples fail no criterion more often than real images."
    sure = "more often" if row["verdict"] == "worse" else "not distinguishable"
    excess, low, high = (-row[key] / 100 for key in ("gain", "high", "low"))
    return (
        f"Worst in {row['name']}: {percent(row['share'])} of samples, {percent(row['real'])} of real "
        f"images ({points(excess)}, interval {points_range(low, high)}: {sure})."
    )


def _title(row: Mapping[str, Any]) -> str:
    near = "" if row["kind"] == "fails" else "nearly "
    return f"asked for {row['true']}, judged {row['predicted']}: {near}{_JUDGED[row['bucket']]}"


def _case_id(row: Mapping[str, Any]) -> str:
    return f"{row['id']} {row['bucket']}"


def _case(row: Mapping[str, Any], samples: np.ndarray, images: np.ndarray) -> Case:
    if row["beside"] == "sample":
        neighbour, heading = samples[row["nearest_sample"]], "the most similar other sample"
    else:
        neighbour, heading = (
            images[row["neighbour_row"]],
            f"nearest training image: {row['neighbour']}",
        )
    return Case(
        _case_id(row),
        _title(row),
        [
            f"{percent(row['label_probability'], 0)} for the class asked for",
            f"{percent(row['nearest_distance'])} of the range from its nearest training image",
            f"sharpness {row['sharpness']:.3f}",
        ],
        pictures.sample_picture(samples[row["place"]], f"Sample {row['id']}"),
        neighbours=(heading, [pictures.sample_picture(neighbour, heading)]),
        facets={
            "kind of failure": row["bucket"],
            "asked for": row["true"],
            "judged": row["predicted"],
            "criterion": row["kind"],
        },
        keys={
            "sharpness": row["sharpness"],
            "distance to training data": row["nearest_distance"],
            "probability of the class": row["label_probability"],
        },
    )
