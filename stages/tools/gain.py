"""Metrics and gains with their units: shares as percentages, their differences in points."""

from collections.abc import Mapping
from typing import Any

from stages.evaluation.metric_names import METRICS


def is_share(metric: str) -> bool:
    """Return whether a metric is a share, such as the accuracy, and not a distance."""
    return metric in METRICS


def metric_text(metric: str, value: float) -> str:
    """Return the value of a metric: 96.6% for a share, 0.521 for a distance."""
    return f"{100 * value:.1f}%" if is_share(metric) else f"{value:.3f}"


def gain_text(metric: str, improvement: Mapping[str, Any]) -> str:
    """Return a gain with its interval: "+4.9 points (+2.8 to +7.0)".

    Args:
        metric: that gains.
        improvement: `gain`, `gain_low` and `gain_high`; of a distance, how much smaller it is.
    """
    gain, low, high = (improvement[key] for key in ("gain", "gain_low", "gain_high"))
    if is_share(metric):
        return f"{100 * gain:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{gain:+.2f} ({low:+.2f} to {high:+.2f})"
