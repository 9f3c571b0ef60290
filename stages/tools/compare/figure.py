"""A comparison as a chart: both scores and the gain, with their intervals."""

import pandas as pd

from stages.core.errors import UserError
from stages.evaluation.metric_names import METRICS
from stages.report import charts
from stages.tools.compare.output import Report

_GAIN = {"gain": "gain", "low": "gain_low", "high": "gain_high"}


def draw(report: Report) -> bytes:
    """Return the chart of a report as SVG.

    Raises:
        UserError: it has no comparison of predictions.
    """
    if not report.comparisons:
        raise UserError("--figure: no task has predictions of samples, so there is nothing to draw")
    scores, gains = [], []
    for task, comparison in report.comparisons.items():
        prefix = f"{task}: " if task else ""
        for method, (score, low, high) in zip(report.names, comparison.scores, strict=True):
            scores.append(
                {
                    "name": f"{prefix}{method}",
                    "method": method,
                    "score": score,
                    "low": low,
                    "high": high,
                }
            )
        figures = comparison.figures
        gains.append(
            {
                "name": f"{prefix}{comparison.verdict}",
                **{key: 100 * figures[name] for key, name in _GAIN.items()},
                "margin": 100 * (comparison.params.equivalence_margin or 0.0),
            }
        )
    metrics = {METRICS[comparison.params.metric] for comparison in report.comparisons.values()}
    return charts.gains(pd.DataFrame(scores), pd.DataFrame(gains), " or ".join(sorted(metrics)))
