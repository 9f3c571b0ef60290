"""The difference in log loss between a baseline and a model on the same test samples, with its interval."""

from typing import TYPE_CHECKING

import numpy as np

from stages.core.progress import progress
from stages.evaluation.clustered import clustering, group_codes

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier
    from stages.evaluation.metric_significance import Groups

_LARGEST = -float(np.log(1e-12))  # loss of a true class that was given no probability, in nats
_MOST_RESAMPLED = 2_000  # units; of more, percentiles are those of the normal distribution
_DRAWS_AT_ONCE = 4_000_000  # units in memory


def compare_losses(
    baseline_loss: np.ndarray,
    loss: np.ndarray,
    params: "EvaluateClassifier",
    groups: "Groups" = None,
) -> dict[str, float]:
    """Return by how much the model's mean loss is below the baseline's, and the interval, in nats.

    The interval is that of the paired cluster bootstrap (`Clustering.bootstrap_interval`); without
    groups each sample is one. Of more than 2,000 groups it is the one by the standard error.

    Args:
        baseline_loss: of each sample, (n,).
        loss: the model's, (n,).
        params: confidence, resamples, seed.
        groups: of each sample, (n,), any hashable values; None: samples are independent.
    """
    codes, differences = group_codes(groups), baseline_loss - loss
    codes = np.arange(len(loss)) if codes is None else codes
    sums, sizes = np.bincount(codes, differences), np.bincount(codes)
    gain = float(differences.mean())
    spread = clustering(
        (sums - gain * sizes) / np.maximum(1, len(loss) - sizes),
        (differences - gain) / max(1, len(loss) - 1),
        np.ones(len(loss), dtype=np.int64),
        sizes,
    )
    bounds = (-_LARGEST, _LARGEST)
    if spread.groups > _MOST_RESAMPLED:
        low, high = spread.t_interval(gain, params.confidence, bounds)
    else:
        means = _bootstrap(sums, sizes, params)
        low, high = spread.bootstrap_interval(gain, means, params.confidence, bounds)
    return {"log_loss_gain": gain, "log_loss_gain_low": low, "log_loss_gain_high": high}


def _bootstrap(sums: np.ndarray, sizes: np.ndarray, params: "EvaluateClassifier") -> np.ndarray:
    """Return the mean over all samples in each draw of as many groups, (resamples,)."""
    random, groups = np.random.default_rng(params.seed), len(sums)
    part = max(1, _DRAWS_AT_ONCE // groups)
    means = []
    for start in progress(range(0, params.resamples, part), "bootstrap of log loss"):
        drawn = random.integers(groups, size=(min(part, params.resamples - start), groups))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)
