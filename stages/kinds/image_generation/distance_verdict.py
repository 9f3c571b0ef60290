"""Is the flow's Fréchet distance better than the baseline's? Interval, verdict and seeds."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from stages.core.progress import progress
from stages.evaluation.generation_metrics import frechet_distance
from stages.evaluation.significance import proportion_interval
from stages.evaluation.verdict import POWER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stages.kinds.image_generation.schema import EvaluateFlow

_SMALLEST_DISTANCE = 1e-12


def compare_distances(
    model: np.ndarray,
    baseline: np.ndarray,
    real: np.ndarray,
    seed_gains: np.ndarray,
    params: "EvaluateFlow",
) -> dict[str, Any]:
    """Return the gain (the baseline's Fréchet distance minus the model's), and the verdict.

    The interval is the standard bootstrap interval (Efron and Tibshirani, 1993, section 13.2) over
    samples and test images, the same resampled test images for both methods. Percentiles would not lie
    around the gain: resampling adds as much bias to a Fréchet distance as small sets do.

    Args:
        model: (n, width), features of the model's samples.
        baseline: (n, width), features of the baseline's samples.
        real: (m, width), features of the test images.
        seed_gains: (seeds,), the gain with each sampling seed.
        params: confidence, resamples, seed, worthwhile_gain (a share of the baseline's distance).
    """
    figures = gain_figures(
        frechet_distance(model, real),
        frechet_distance(baseline, real),
        _standard_error(model, baseline, real, params),
        (float(seed_gains.min()), float(seed_gains.max())),
        params,
    )
    return {
        **figures,
        "seeds": len(seed_gains),
        "seed_gain_mean": float(seed_gains.mean()),
        "seed_gain_min": float(seed_gains.min()),
        "seed_gain_max": float(seed_gains.max()),
        "seed_gain_sd": float(seed_gains.std(ddof=1)) if len(seed_gains) > 1 else 0.0,
    }


def _standard_error(
    model: np.ndarray, baseline: np.ndarray, real: np.ndarray, params: "EvaluateFlow"
) -> float:
    """Return the bootstrap standard error of the gain."""
    random = np.random.default_rng(params.seed)

    def resample(features: np.ndarray) -> np.ndarray:
        resampled: np.ndarray = features[random.integers(len(features), size=len(features))]
        return resampled

    gains = np.empty(params.resamples)
    for index in progress(range(params.resamples), "bootstrap"):
        images = resample(real)
        distance = frechet_distance(resample(model), images)
        gains[index] = frechet_distance(resample(baseline), images) - distance
    return float(gains.std(ddof=1))


def gain_figures(
    distance: float,
    baseline_distance: float,
    error: float,
    seed_range: tuple[float, float],
    params: "EvaluateFlow",
) -> dict[str, Any]:
    """Return the gain, its interval, the smallest detectable gain and the verdict.

    Args:
        distance: the model's.
        baseline_distance: the baseline's.
        error: standard error of the gain.
        seed_range: the lowest and the highest gain of a sampling seed.
        params: confidence, worthwhile_gain.
    """
    z = norm.isf((1 - params.confidence) / 2)
    gain = baseline_distance - distance
    low, high = float(gain - z * error), float(gain + z * error)
    detectable = float((z + norm.isf(1 - POWER)) * error)
    worthwhile = detectable <= params.worthwhile_gain * baseline_distance
    return {
        "verdict": _verdict((low, high), seed_range, detects_worthwhile=worthwhile),
        "gain": gain,
        "gain_low": low,
        "gain_high": high,
        "share_of_baseline": distance / max(baseline_distance, _SMALLEST_DISTANCE),
        "smallest_detectable_gain": detectable,
        "power": POWER,
    }


def _verdict(
    interval: tuple[float, float], seed_range: tuple[float, float], *, detects_worthwhile: bool
) -> str:
    """Return the verdict.

    Better: the interval lies above 0, and every sampling seed gains. Worse: the same below 0. Otherwise
    not distinguishable; or, where a worthwhile gain would be detected with less than 80% power,
    underpowered.

    Args:
        interval: of the gain.
        seed_range: the lowest and the highest gain of a sampling seed.
        detects_worthwhile: whether a worthwhile gain would be detected.
    """
    (low, high), (lowest, highest) = interval, seed_range
    if low > 0 and lowest > 0:
        return "better"
    if high < 0 and highest < 0:
        return "worse"
    return "underpowered" if low <= 0 <= high and not detects_worthwhile else "not distinguishable"


def with_intervals(
    metrics: "Mapping[str, float]", n_samples: int, n_real: int, confidence: float
) -> dict[str, Any]:
    """Return metrics against the test split, with Wilson intervals of the shares.

    Args:
        metrics: of one method.
        n_samples: label_agreement and copy_rate are shares of these.
        n_real: coverage_test is a share of these.
        confidence: of the intervals.
    """
    extended: dict[str, Any] = dict(metrics)
    counts = {"coverage_test": n_real, "label_agreement": n_samples, "copy_rate": n_samples}
    for name, count in counts.items():
        low, high = proportion_interval(round(metrics[name] * count), count, confidence)
        extended |= {f"{name}_low": low, f"{name}_high": high}
    return extended
