"""The charts of a classifier: its scores beside the baselines', where it gains and loses, calibration."""

from typing import TYPE_CHECKING

import pandas as pd

from stages.evaluation.metric_names import METRICS
from stages.evaluation.slices import interval_verdict
from stages.report import charts
from stages.report.document import Figure
from stages.report.formatting import calibration_line, percent, points, slice_name, table_rows

if TYPE_CHECKING:
    from stages.report.stage_outputs import ClassificationOutputs

_MOST_SLICES = 12  # in the chart; the table has more


def method_figure(outputs: "ClassificationOutputs") -> Figure:
    """Return the scores of all methods with their intervals, the best baseline last before the model."""
    metrics, metric = outputs.metrics, outputs.gain["metric"]
    scores = {name: metrics["baselines"][name] for name in outputs.baseline["methods"]}
    ordered = sorted(scores.items(), key=lambda item: item[1][metric])
    rows = pd.DataFrame(
        [
            {
                "name": name,
                "role": "model" if name == "model" else "baseline",
                "score": method[metric],
                "low": method[f"{metric}_low"],
                "high": method[f"{metric}_high"],
            }
            for name, method in [*ordered, ("model", metrics["current"])]
        ]
    )
    values = "; ".join(f"{row['name']} {percent(row['score'])}" for row in table_rows(rows))
    level = percent(outputs.task.params.evaluate.confidence, 0)
    return Figure(
        "methods.svg",
        charts.methods(rows, f"test {METRICS[metric]}", ".0%"),
        f"Test {METRICS[metric]} of each method: {values}.",
        f"Test {METRICS[metric]} with {level} intervals: baselines (dots) and the model (diamond), on "
        f"the same {metrics['n']} samples.",
    )


def difference_figure(outputs: "ClassificationOutputs") -> Figure:
    """Return the gain over the baseline on all samples and by slice, the worst slice first."""
    gain, slices = outputs.gain, outputs.slices
    overall = {
        "name": "all test samples",
        "gain": gain["gain"],
        "low": gain["gain_low"],
        "high": gain["gain_high"],
        "verdict": interval_verdict(gain["gain_low"], gain["gain_high"]),
    }
    ordered = slices.sort_values(["gain", "gain_high"], kind="stable").head(_MOST_SLICES)
    rows = pd.DataFrame(
        [
            overall,
            *(
                {
                    "name": slice_name(row),
                    "gain": row["gain"],
                    "low": row["gain_low"],
                    "high": row["gain_high"],
                    "verdict": row["verdict"],
                }
                for row in table_rows(ordered)
            ),
        ]
    )
    rows[["gain", "low", "high"]] *= 100
    worst = table_rows(ordered)[0]
    extent = (
        f"the worst {len(ordered)} of {len(slices)} slices"
        if len(ordered) < len(slices)
        else "slices"
    )
    metric = (
        "" if gain["metric"] == "accuracy" else f" The first row is by {METRICS[gain['metric']]}."
    )
    return Figure(
        "differences.svg",
        charts.differences(rows, "model minus baseline, points"),
        f"Model minus baseline: {points(gain['gain'])} on all test samples; lowest in "
        f"{slice_name(worst)}, {points(worst['gain'])}.",
        f"Model minus baseline in points of accuracy, on all test samples and in {extent}; intervals "
        f"corrected for {len(slices)} slices. Triangles: better or worse; dots: not "
        f"distinguishable.{metric}",
    )


def reliability_figure(outputs: "ClassificationOutputs") -> Figure:
    """Return the reliability curve of the model and of the baseline."""
    model, baseline = (calibration_line(outputs.metrics[name]) for name in ("current", "baseline"))
    errors = f"Expected calibration error {model}; baseline {baseline}."
    return Figure(
        "reliability.svg",
        charts.reliability(outputs.reliability_curves()),
        f"Reliability curve. {errors}",
        "Calibration: accuracy in bins of confidence; larger dots hold more samples. Above the dashed "
        f"line the accuracy exceeds the confidence. {errors}",
    )
