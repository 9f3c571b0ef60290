"""The verdict on the Fréchet distance: interval, sampling seeds, power."""

import numpy as np
import pytest
from support.project import default_task

from stages.evaluation.generation_metrics import frechet_distance
from stages.kinds.image_generation.distance_verdict import compare_distances
from stages.kinds.image_generation.schema import EvaluateFlow

PARAMS = default_task("generative").params.evaluate


def evaluate_params(**changes: object) -> EvaluateFlow:
    return EvaluateFlow.model_validate({**PARAMS.model_dump(), "resamples": 200, **changes})


def feature_sets(seed: int = 0, count: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two sets of one distribution, and one far from it."""
    first, second, far = np.random.default_rng(seed).standard_normal((3, count, 4))
    return first, second, far + 3


def verdict(
    model: np.ndarray,
    baseline: np.ndarray,
    real: np.ndarray,
    *seed_gains: float,
    **changes: object,
) -> str:
    """Return the verdict; `seed_gains` are those of further sampling seeds."""
    gain = frechet_distance(baseline, real) - frechet_distance(model, real)
    gains = np.array([gain, *seed_gains])
    return str(
        compare_distances(model, baseline, real, gains, evaluate_params(**changes))["verdict"]
    )


def test_samples_of_the_real_distribution_are_better_than_far_ones() -> None:
    near, real, far = feature_sets()
    assert verdict(near, far, real) == "better"
    assert verdict(far, near, real) == "worse"
    assert verdict(real, far, real) == "better"  # the real images themselves


def test_samples_are_not_better_than_the_same_samples() -> None:
    near, real, far = feature_sets()
    for samples in (near, far):
        assert verdict(samples, samples, real, worthwhile_gain=0.9) != "better"
    assert verdict(far, far, real, worthwhile_gain=0.9) == "not distinguishable"
    assert verdict(far, far, real, worthwhile_gain=0.001) == "underpowered"


def test_two_sets_of_one_distribution_are_rarely_distinguished() -> None:
    verdicts = []
    for seed in range(12):
        first, second, _ = feature_sets(seed)
        verdicts.append(verdict(first, second, feature_sets(seed + 100)[0], resamples=100))
    assert sum(name in {"better", "worse"} for name in verdicts) <= 2


@pytest.mark.parametrize("seed_gain", [-0.1, 0.0])
def test_one_sampling_seed_without_a_gain_revokes_the_verdict(seed_gain: float) -> None:
    near, real, far = feature_sets()
    assert verdict(near, far, real, 1.0) == "better"
    assert verdict(near, far, real, 1.0, seed_gain, worthwhile_gain=0.9) == "not distinguishable"
    assert verdict(far, near, real, -1.0) == "worse"
    assert verdict(far, near, real, -1.0, -seed_gain, worthwhile_gain=0.9) != "worse"


def test_seeds_that_disagree_about_a_clear_gain_are_not_a_lack_of_power() -> None:
    near, real, far = feature_sets()
    assert verdict(near, far, real, 1.0, worthwhile_gain=0.001) == "better"
    assert verdict(near, far, real, -0.1, worthwhile_gain=0.001) == "not distinguishable"


def test_the_figures_of_the_verdict_are_consistent() -> None:
    near, real, far = feature_sets()
    gains = np.array([5.0, 3.0, 4.0])
    figures = compare_distances(near, far, real, gains, evaluate_params())
    distance, baseline_distance = frechet_distance(near, real), frechet_distance(far, real)
    assert figures["gain"] == pytest.approx(baseline_distance - distance)
    assert figures["share_of_baseline"] == pytest.approx(distance / baseline_distance)
    assert (figures["gain_low"] + figures["gain_high"]) / 2 == pytest.approx(figures["gain"])
    # z of 95% is 1.96; 80% power adds 0.84.
    width = (figures["gain_high"] - figures["gain_low"]) / 2
    assert figures["smallest_detectable_gain"] / width == pytest.approx(2.8016 / 1.96, rel=1e-3)
    assert figures["seed_gain_mean"] == pytest.approx(4)
    assert (figures["seed_gain_min"], figures["seed_gain_max"], figures["seeds"]) == (3, 5, 3)
    assert figures["seed_gain_sd"] == pytest.approx(1)
    assert compare_distances(near, far, real, gains, evaluate_params()) == figures
    other_seed = compare_distances(near, far, real, gains[:1], evaluate_params(seed=1))
    assert other_seed["gain_low"] != figures["gain_low"]
    assert other_seed["seed_gain_sd"] == 0.0


def test_the_standard_error_is_the_deviation_of_the_gain_over_new_samples() -> None:
    random = np.random.default_rng(0)
    gains, errors = [], []
    for _ in range(40):
        model, real, far = random.standard_normal((3, 100, 3))
        figures = compare_distances(
            model, 2 * far + 1, real, np.array([1.0]), evaluate_params(resamples=100)
        )
        gains.append(figures["gain"])
        errors.append((figures["gain_high"] - figures["gain_low"]) / 2 / 1.96)
    assert np.mean(errors) == pytest.approx(np.std(gains, ddof=1), rel=0.3)
