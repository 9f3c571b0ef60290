"""The kinds of failure of a sample: the criterion of each, and the cases that are shown."""

import numpy as np
import pandas as pd

from stages.kinds.image_generation.sample_tables import BLUR_QUANTILE

COLLAPSED, BLURRED, BROKEN, COPIED = "collapsed", "blurred", "broken", "copied"
_MIN_SPREAD = 0.5  # of a class's samples, as a share of that of real images
_MIN_PROBABILITY = 0.5  # of the requested class
CRITERIA = {
    COLLAPSED: f"the samples of its class spread less than {_MIN_SPREAD:.0%} as wide as real images; those "
    "nearest to another sample are shown",
    BLURRED: f"less sharp than {1 - BLUR_QUANTILE:.0%} of the class's test images",
    BROKEN: "the reference classifier gives the requested class a probability below "
    f"{_MIN_PROBABILITY:.0%}",
    COPIED: "closer to a training image than all but the closest test images (evaluate.copy_quantile)",
}
_MIN_SAMPLES = 5  # of a class, for its spread to count
_TINY = 1e-12


def classify_failures(
    samples: pd.DataFrame, classes: pd.DataFrame, copy_distance: float
) -> pd.DataFrame:
    """Return samples with, for each kind of failure, whether they fail and how near they are to it.

    Args:
        samples: a row a sample: label, label_probability, nearest_distance, sharpness,
            nearest_sample_distance.
        classes: a row a class, as the stage evaluate writes it.
        copy_distance: a sample nearer to a training image counts as copied.

    Returns:
        The samples with the columns place, collapsed_class, and for each kind KIND_near (the lowest are
        the nearest to failing) and KIND_fails.
    """
    of_class = classes.iloc[samples["label"]].reset_index(drop=True)
    relative_spread = of_class["spread"] / of_class["real_spread"].clip(lower=_TINY)
    collapsed = (relative_spread < _MIN_SPREAD) & (of_class["samples"] >= _MIN_SAMPLES)
    # The class with the lowest spread comes first; within a class, the samples nearest to another.
    within_class = samples["nearest_sample_distance"].rank(pct=True) / 2
    columns = {
        "place": np.arange(len(samples)),
        f"{COLLAPSED}_class": collapsed,
        f"{COLLAPSED}_near": relative_spread.rank(method="dense") + within_class,
        f"{COLLAPSED}_fails": collapsed,
        f"{BLURRED}_near": samples["sharpness"] / of_class["real_sharpness"].clip(lower=_TINY),
        f"{BLURRED}_fails": samples["sharpness"] < of_class["real_sharpness_low"],
        f"{BROKEN}_near": samples["label_probability"],
        f"{BROKEN}_fails": samples["label_probability"] < _MIN_PROBABILITY,
        f"{COPIED}_near": samples["nearest_distance"],
        f"{COPIED}_fails": samples["nearest_distance"] < copy_distance,
    }
    return pd.concat([samples, pd.DataFrame(columns, index=samples.index)], axis=1)


def select_cases(samples: pd.DataFrame, counts: dict[str, int], per_bucket: int) -> pd.DataFrame:
    """Return the failing samples by kind of failure, the most frequent kind first.

    Where fewer than `per_bucket` samples fail, those nearest to failing follow. A sample that fails by
    several criteria is a case of each.

    Args:
        samples: as `classify_failures` returns them.
        counts: of failing samples, by kind.
        per_bucket: cases of each kind, at least.
    """
    buckets = sorted(CRITERIA, key=lambda bucket: -counts[bucket])
    cases = [_cases(samples, bucket, max(per_bucket, counts[bucket])) for bucket in buckets]
    return pd.concat(cases, ignore_index=True)


def _cases(samples: pd.DataFrame, bucket: str, count: int) -> pd.DataFrame:
    fails = samples[f"{bucket}_fails"]
    order = np.lexsort((samples["place"], samples[f"{bucket}_near"], ~fails))[:count]
    cases = samples.iloc[order]
    show_sample = (cases["nearest_sample"] >= 0) & (bucket == COLLAPSED)
    return cases.assign(
        bucket=bucket,
        kind=np.where(cases[f"{bucket}_fails"], "fails", "nearest to it"),
        cause=CRITERIA[bucket],
        beside=np.where(show_sample, "sample", "training image"),
    )
