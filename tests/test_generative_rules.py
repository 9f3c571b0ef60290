"""The rules of the generative row: split, baseline, choice, verdict, failures, notes, params."""

import shutil
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, change_params
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.params import load
from stages.shared import schema
from stages.shared.refusal import Refusal
from stages.shared.review import notes
from stages.shared.schema import EvaluateFlow, Generative, Params, Split, TrainFlow
from stages.shared.splits import SPLITS, split_within
from stages.tasks.generative.baseline import GAUSSIANS, VAE, Autoencoder, gaussians, samplers
from stages.tasks.generative.evaluate import _reviewed, choose, improvement
from stages.tasks.generative.failures import MEANS, judged, next_step
from stages.tasks.generative.measure import Seen, frechet
from stages.tasks.generative.model import GROUP

DEFAULTS = load(ROOT / "params.yaml").generative
REAL = {
    "frechet_validation": 2.0,
    "coverage_validation": 0.9,
    "recall_validation": 0.8,
    "copied": 0.05,
    "closer": 0.5,
}


def params(**changes: object) -> EvaluateFlow:
    return EvaluateFlow.model_validate(
        {**DEFAULTS.evaluate.model_dump(), "resamples": 200, **changes}
    )


def changed(folder: Path, changes: dict[str, Any]) -> Params:
    """Return the params with some keys changed, read from a file as a user's are."""
    shutil.copy(ROOT / "params.yaml", folder)

    def change(all_: dict[str, Any]) -> None:
        for path, value in changes.items():
            *above, name = path.split(".")
            reduce(lambda section, part: section[part], above, all_)[name] = value

    change_params(folder, change)
    return load(folder / "params.yaml")


# The split within writer and class.

SHARES = Split(test=0.25, validation=0.2, seed=0)
Units = tuple[np.ndarray, np.ndarray]


def none_official(units: np.ndarray) -> np.ndarray:
    return np.zeros(len(units), dtype=bool)


@st.composite
def strata(draw: st.DrawFn, least: int = 10) -> Units:
    """Return units of one or more samples, and strata of at least so many units."""
    counts = draw(st.lists(st.integers(least, 40), min_size=1, max_size=6))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    own = random.permutation(np.repeat(np.arange(len(counts)), counts))
    member = random.permutation(np.repeat(np.arange(len(own)), random.integers(1, 4, len(own))))
    return (
        np.array([f"family-{index}" for index in member]),
        np.array([f"writer {index}" for index in own[member]]),
    )


def counted(units: np.ndarray, of: np.ndarray) -> int:
    return len(np.unique(units[of]))


@settings(max_examples=40, deadline=None)
@given(strata(), st.floats(0.1, 0.3), st.floats(0.1, 0.3), st.integers(0, 1000))
def test_each_split_holds_its_share_of_every_stratum_to_within_one(
    samples: Units, test: float, validation: float, seed: int
) -> None:
    units, own = samples
    split = split_within(
        units, own, none_official(units), Split(test=test, validation=validation, seed=seed)
    )
    rest = split != "test"
    for before, name in ((np.ones_like(rest), "test"), (rest, "validation")):
        held = counted(units, split == name) / counted(units, before)
        for stratum in np.unique(own):
            due = held * counted(units, before & (own == stratum))
            assert abs(counted(units, (split == name) & (own == stratum)) - due) < 1
            assert (split[own == stratum] == name).any()


@settings(max_examples=40, deadline=None)
@given(strata(least=1), st.integers(0, 1000), st.data())
def test_no_unit_is_in_two_splits_even_where_it_is_of_two_strata(
    samples: Units, seed: int, data: st.DataObject
) -> None:
    units = np.concatenate([samples[0], ["one more", "and one", "and a third"]])
    own = data.draw(st.permutations([*samples[1], "writer 0", "writer 1", "writer 0"]))
    split = split_within(units, np.array(own), none_official(units), SHARES)
    assert set(split.tolist()) == set(SPLITS)
    for unit in np.unique(units):
        assert len(set(split[units == unit].tolist())) == 1


@settings(max_examples=30, deadline=None)
@given(strata(), st.integers(0, 1000))
def test_official_test_data_stay_whole_and_no_more_are_drawn(samples: Units, seed: int) -> None:
    units, own = samples
    official = np.random.default_rng(seed).random(len(units)) < 0.1
    official[0] = True
    split = split_within(units, own, official, SHARES)
    assert set(units[split == "test"].tolist()) == set(units[official].tolist())
    assert set(split.tolist()) == set(SPLITS)


def test_strata_too_small_for_every_split_are_drawn_from_together() -> None:
    small = [f"small {index}" for index in range(10) for _ in range(2)]
    own = np.array([*["large"] * 40, *["other"] * 20, *small])
    for seed in range(5):
        split = split_within(
            np.arange(80).astype(str),
            own,
            np.zeros(80, dtype=bool),
            Split(test=0.25, validation=0.2, seed=seed),
        )
        rare = np.char.startswith(own, "small")
        for some, count in ((own == "large", 40), (own == "other", 20), (rare, 20)):
            assert (split[some] == "test").sum() == count * 0.25
            assert (split[some] == "validation").sum() == count * 0.2


@pytest.mark.parametrize("lone", [1, 2])
def test_a_lone_rare_sample_costs_no_other_stratum_its_share(lone: int) -> None:
    own = np.array([*np.repeat([f"writer {index}" for index in range(10)], 20), *["rare"] * lone])
    split = split_within(np.arange(len(own)).astype(str), own, none_official(own), SHARES)
    for index in range(10):
        of = split[own == f"writer {index}"]
        assert abs((of == "test").sum() - 5) <= 1
        assert abs((of == "validation").sum() - 4) <= 1


def test_a_stratum_that_is_nearly_all_official_costs_no_other_its_share() -> None:
    own = np.repeat([f"writer {index}" for index in range(10)], 20)
    split = split_within(np.arange(200).astype(str), own, np.arange(200) < 19, SHARES)
    for index in range(1, 10):
        assert abs((split[own == f"writer {index}"] == "validation").sum() - 4) <= 1


@settings(max_examples=20, deadline=None)
@given(strata(), st.integers(0, 1000))
def test_the_seed_alone_decides_the_draw_within_strata(samples: Units, seed: int) -> None:
    given_ = (*samples, none_official(samples[0]))
    first = split_within(*given_, SHARES)
    np.testing.assert_array_equal(first, split_within(*given_, SHARES))
    other = [
        split_within(*given_, Split(test=0.25, validation=0.2, seed=seed + step))
        for step in range(3)
    ]
    assert any((one != other[0]).any() for one in other)


# The Gaussians.


def images_of_two(random: np.random.Generator, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return images of two classes with means and correlations of their own, far from 0 and 255."""
    labels = np.repeat([0, 1], count)
    flat = np.concatenate(
        [
            place + 8 * random.standard_normal((count, 16)) @ random.standard_normal((16, 16)) / 2
            for place in (100, 150)
        ]
    )
    return flat.round().clip(0, 255).astype(np.uint8).reshape(-1, 1, 4, 4), labels


def flat_of(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


def test_with_all_axes_the_factor_gives_back_the_samples_covariance() -> None:
    images, labels = images_of_two(np.random.default_rng(0))
    rows = np.arange(len(images))
    found = gaussians(images, rows, labels, 2, 64)
    fewer = gaussians(images, rows, labels, 2, 3)
    for label in (0, 1):
        own = flat_of(images[labels == label])
        np.testing.assert_allclose(found[f"mean_{label}"], own.mean(axis=0), rtol=1e-5)
        factor, covariance = found[f"factor_{label}"], np.cov(own.T)
        np.testing.assert_allclose(factor.T @ factor, covariance, atol=1e-5 * covariance.max())
        # With fewer axes, the covariance's largest ones.
        assert fewer[f"factor_{label}"].shape == (3, 16)
        kept = (fewer[f"factor_{label}"] ** 2).sum(axis=1)
        np.testing.assert_allclose(kept, np.linalg.eigvalsh(covariance)[:-4:-1], rtol=1e-3)


def test_rows_name_the_images_to_fit() -> None:
    images, labels = images_of_two(np.random.default_rng(0))
    rows = np.random.default_rng(1).permutation(len(images))[:70]
    found = gaussians(images, rows, labels[rows], 2, 64)
    own = flat_of(images[rows[labels[rows] == 1]])
    np.testing.assert_allclose(found["mean_1"], own.mean(axis=0), rtol=1e-5)


def test_many_draws_have_the_mean_and_the_covariance_of_their_classs_images() -> None:
    images, labels = images_of_two(np.random.default_rng(0))
    vae = Autoencoder(DEFAULTS.baseline.vae, (1, 4, 4), 2)
    draw = samplers(gaussians(images, np.arange(len(images)), labels, 2, 64), vae)[GAUSSIANS]
    asked = np.arange(30_000) % 2
    drawn = draw(asked, 0)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (30_000, 1, 4, 4)
    for label in (0, 1):
        own, some = flat_of(images[labels == label]), flat_of(drawn[asked == label])
        covariance = np.cov(own.T)
        error = np.sqrt(covariance.diagonal().max() / 15_000)
        np.testing.assert_allclose(some.mean(axis=0), own.mean(axis=0), atol=5 * error)
        np.testing.assert_allclose(np.cov(some.T), covariance, atol=0.06 * covariance.max())


def test_each_baseline_draws_the_same_images_for_the_same_seed() -> None:
    images, labels = images_of_two(np.random.default_rng(0))
    vae = Autoencoder(DEFAULTS.baseline.vae, (1, 4, 4), 2)
    found = samplers(gaussians(images, np.arange(len(images)), labels, 2, 64), vae)
    assert list(found) == [GAUSSIANS, VAE]
    for draw in found.values():
        asked = np.array([1, 0, 1, 1])
        assert draw(asked, 3).tobytes() == draw(asked, 3).tobytes()
        assert (draw(asked, 3) != draw(asked, 4)).any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_class_of_one_image_is_fitted() -> None:
    images, labels = images_of_two(np.random.default_rng(0), 6)
    some = np.flatnonzero((labels == 0) | (np.arange(12) == 11))
    found = gaussians(images, some, labels[some], 2, 64)
    assert all(np.isfinite(part).all() for part in found.values())


# The choice of a checkpoint.


def figures(**changes: float) -> dict[str, float]:
    return {**REAL, "frechet_validation": 4.0, **changes}


def review_of(*rows: tuple[float, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "step": 100 * np.arange(1, len(rows) + 1),
            "status": [status for _, status in rows],
            "frechet_validation": [distance for distance, _ in rows],
        }
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.sampled_from(["candidate", "review"])),
        min_size=1,
        max_size=8,
    )
)
def test_the_candidate_nearest_to_real_is_chosen_or_else_the_nearest_of_all(
    rows: list[tuple[float, str]],
) -> None:
    step, held = choose(review_of(*rows))
    distance, status = rows[step // 100 - 1]
    assert held == any(status == "candidate" for _, status in rows)
    assert status == "candidate" or not held
    among = [distance for distance, status in rows if status == "candidate" or not held]
    assert distance == min(among)


def test_a_nearer_checkpoint_that_does_not_keep_the_rule_is_not_chosen() -> None:
    rows = review_of((9.0, "candidate"), (1.0, "review"), (5.0, "candidate"), (5.0, "candidate"))
    assert choose(rows) == (300, True)
    assert choose(rows.assign(status="review")) == (200, False)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"coverage_validation": 0.85}, "coverage 0.850 is below 0.95 of 0.900"),
        ({"recall_validation": 0.75}, "recall 0.750 is below 0.95 of 0.800"),
        ({"copied": 0.08}, "copied 0.080 is clearly above 0.05"),
        ({"closer": 0.55}, "closer 0.550 is clearly above 0.5"),
    ],
)
def test_a_broken_rule_asks_for_review_and_is_named(change: dict[str, float], named: str) -> None:
    found = _reviewed({100: figures(), 200: figures(**change)}, REAL, 359, params())
    assert list(found["status"]) == ["candidate", "review"]
    assert list(found["reason"]) == ["", named]
    assert list(found["step"]) == [100, 200]


def test_what_is_as_real_images_are_breaks_no_rule() -> None:
    edge = figures(
        coverage_validation=0.95 * REAL["coverage_validation"],
        recall_validation=0.95 * REAL["recall_validation"],
        copied=0.06,  # within what chance does to held-out real images
        closer=0.53,
    )
    assert list(_reviewed({100: edge}, REAL, 359, params())["status"]) == ["candidate"]


def test_every_broken_rule_is_named() -> None:
    bad = figures(coverage_validation=0.1, recall_validation=0.1, copied=0.9, closer=0.9)
    reason = _reviewed({100: bad}, REAL, 359, params())["reason"].item()
    named = [part.split()[0] for part in reason.split("; ")]
    assert named == ["coverage", "recall", "copied", "closer"]


def test_falling_back_is_from_the_best_so_far_and_a_collapse_from_the_one_before() -> None:
    found = _reviewed(
        {
            100: figures(frechet_validation=4.0, coverage_validation=0.9),
            200: figures(frechet_validation=4.9, coverage_validation=0.81),
            300: figures(frechet_validation=5.1, coverage_validation=0.72),
            400: figures(frechet_validation=5.2, coverage_validation=0.60),
            500: figures(frechet_validation=3.0, coverage_validation=0.60, closer=0.6),
        },
        REAL,
        359,
        params(),
    )
    fell = [200 + 100 * place for place, note in enumerate(found["note"][1:]) if "falls" in note]
    collapsed = found.loc[found["note"].str.contains("diversity collapses"), "step"].tolist()
    assert fell == [300, 400]
    assert collapsed == [400]
    assert found["note"].iloc[0] == "2.0 times real against real"
    assert "closer to training images than before" in found["note"].iloc[4]
    assert found["note"].str.contains("closer").sum() == 1


# The verdict.


def seen(features: np.ndarray) -> Seen:
    count = len(features)
    return Seen(features, np.ones((count, 1)), np.zeros(count, dtype=int), np.ones(count))


def sets(seed: int = 0, count: int = 150) -> tuple[Seen, Seen, Seen]:
    """Return two sets of one distribution, and one far from it."""
    random = np.random.default_rng(seed)
    one, other, far = random.standard_normal((3, count, 4))
    return seen(one), seen(other), seen(far + 3)


def verdict(model: Seen, base: Seen, real: Seen, *gains: float, **changes: object) -> str:
    gain = frechet(base.features, real.features) - frechet(model.features, real.features)
    result = improvement(model, base, real, np.array([gain, *gains]), params(**changes))
    return str(result["verdict"])


def test_samples_as_real_as_real_ones_are_better_than_far_ones_and_these_are_worse() -> None:
    one, other, far = sets()
    assert verdict(one, far, other) == "better"
    assert verdict(far, one, other) == "worse"
    assert verdict(other, far, other) == "better"  # the real images themselves


def test_the_same_samples_are_no_better_than_themselves() -> None:
    one, other, far = sets()
    for samples in (one, far):
        assert verdict(samples, samples, other, worthwhile_gain=0.9) != "better"
    assert verdict(far, far, other, worthwhile_gain=0.9) == "not distinguishable"
    assert verdict(far, far, other, worthwhile_gain=0.001) == "test set too small"


def test_two_sets_of_one_distribution_are_seldom_told_apart() -> None:
    found = []
    for seed in range(12):
        one, other, _ = sets(seed)
        third = sets(seed + 100)[0]
        found.append(verdict(one, other, third, resamples=100))
    assert sum(name in {"better", "worse"} for name in found) <= 2


@pytest.mark.parametrize("other_seed", [-0.1, 0.0])
def test_one_sampling_seed_without_a_gain_forbids_the_verdict(other_seed: float) -> None:
    one, other, far = sets()
    assert verdict(one, far, other, 1.0) == "better"
    assert verdict(one, far, other, 1.0, other_seed, worthwhile_gain=0.9) == "not distinguishable"
    assert verdict(far, one, other, -1.0) == "worse"
    assert verdict(far, one, other, -1.0, -other_seed, worthwhile_gain=0.9) != "worse"


def test_where_the_interval_shows_a_gain_it_is_the_seeds_that_disagree() -> None:
    one, other, far = sets()
    assert verdict(one, far, other, 1.0, worthwhile_gain=0.001) == "better"
    assert verdict(one, far, other, -0.1, worthwhile_gain=0.001) == "not distinguishable"


def test_the_verdicts_figures_agree_with_each_other() -> None:
    one, other, far = sets()
    found = improvement(one, far, other, np.array([5.0, 3.0, 4.0]), params())
    here, there = frechet(one.features, other.features), frechet(far.features, other.features)
    assert found["gain"] == pytest.approx(there - here)
    assert found["share_of_baseline"] == pytest.approx(here / there)
    assert (found["gain_low"] + found["gain_high"]) / 2 == pytest.approx(found["gain"])
    # z of 95% is 1.96, and 80% power asks for 0.84 more.
    width = (found["gain_high"] - found["gain_low"]) / 2
    assert found["smallest_detectable_gain"] / width == pytest.approx(2.8016 / 1.96, rel=1e-3)
    assert found["seed_gain_mean"] == pytest.approx(4)
    assert (found["seed_gain_min"], found["seed_gain_max"], found["seeds"]) == (3, 5, 3)
    assert found["seed_gain_sd"] == pytest.approx(1)
    again = improvement(one, far, other, np.array([5.0, 3.0, 4.0]), params())
    assert again == found
    other_draws = improvement(one, far, other, np.array([5.0]), params(seed=1))
    assert other_draws["gain_low"] != found["gain_low"]
    assert other_draws["seed_gain_sd"] == 0.0


def test_the_standard_error_is_how_much_fresh_samples_differ() -> None:
    random = np.random.default_rng(0)

    def fresh() -> tuple[Seen, Seen, Seen]:
        one, other, far = random.standard_normal((3, 100, 3))
        return seen(one), seen(other), seen(2 * far + 1)

    gains, errors = [], []
    for _ in range(40):
        model, real, base = fresh()
        found = improvement(model, base, real, np.array([1.0]), params(resamples=100))
        gains.append(found["gain"])
        errors.append((found["gain_high"] - found["gain_low"]) / 2 / 1.96)
    assert np.mean(errors) == pytest.approx(np.std(gains, ddof=1), rel=0.3)


def test_as_many_neighbours_as_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="neighbours"):
        changed(tmp_path, {"generative.evaluate.neighbours": 50, "generative.evaluate.samples": 50})


# Failures.


def tables(**changes: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return four samples of two classes that fail in no way, one column of each table changed."""
    samples = pd.DataFrame(
        {
            "asked": [0, 0, 1, 1],
            "of_asked": 0.9,
            "gap": [0.3, 0.4, 0.5, 0.6],
            "sharpness": 0.2,
            "twin_gap": [1.0, 2.0, 3.0, 4.0],
        }
    )
    classes = pd.DataFrame(
        {
            "class": ["none", "one"],
            "samples": [20, 20],
            "real": [9, 9],
            "spread": 1.0,
            "real_spread": 1.0,
            "real_sharpness": 0.2,
            "real_sharpness_low": 0.1,
        }
    )
    for name, values in changes.items():
        (samples if name in samples else classes)[name] = values
    return samples, classes


def failing(**changes: Any) -> dict[str, list[int]]:
    found = judged(*tables(**changes), 0.1)
    assert found["place"].tolist() == [0, 1, 2, 3]
    return {
        bucket: np.flatnonzero(found[f"{bucket}_fails"]).tolist()
        for bucket in MEANS
        if found[f"{bucket}_fails"].any()
    }


def test_samples_as_real_ones_fail_in_no_way() -> None:
    assert failing() == {}
    assert failing(spread=0.5, of_asked=0.5, gap=0.1, sharpness=0.1) == {}  # at each edge


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spread": [1.0, 0.49]}, {"collapsed": [2, 3]}),
        ({"real_spread": [2.1, 1.9]}, {"collapsed": [0, 1]}),
        ({"sharpness": [0.2, 0.09, 0.2, 0.2]}, {"blurred": [1]}),
        ({"real_sharpness_low": [0.1, 0.21]}, {"blurred": [2, 3]}),
        ({"of_asked": [0.49, 0.9, 0.9, 0.1]}, {"broken": [0, 3]}),
        ({"gap": [0.3, 0.4, 0.09, 0.0]}, {"copied": [2, 3]}),
        ({"gap": 0.0, "of_asked": 0.0}, {"broken": [0, 1, 2, 3], "copied": [0, 1, 2, 3]}),
    ],
)
def test_each_kind_of_failure_is_told_by_its_own_rule(
    changes: dict[str, Any], expected: dict[str, list[int]]
) -> None:
    assert failing(**changes) == expected


def test_the_nearest_to_failing_come_first() -> None:
    samples, classes = tables(
        spread=[0.9, 0.4],
        of_asked=[0.3, 0.8, 0.2, 0.9],
        sharpness=[0.15, 0.2, 0.12, 0.3],
        twin_gap=[1.0, 2.0, 4.0, 3.0],
    )
    found = judged(samples, classes, 0.1)
    orders = {bucket: np.argsort(found[f"{bucket}_near"]).tolist() for bucket in MEANS}
    assert orders == {
        "collapsed": [3, 2, 0, 1],  # the class that spreads least, in it the nearest twin
        "blurred": [2, 0, 1, 3],
        "broken": [2, 0, 1, 3],
        "copied": [0, 1, 2, 3],
    }


def test_classes_without_real_images_fail_in_no_way() -> None:
    assert failing(real=0, real_spread=0.0, real_sharpness=0.0, real_sharpness_low=0.0) == {}


def test_a_class_of_few_samples_has_not_collapsed() -> None:
    assert failing(samples=[1, 20], spread=[0.0, 1.0]) == {}
    assert failing(samples=[5, 20], spread=[0.0, 1.0]) == {"collapsed": [0, 1]}


def the_step(
    bucket: str,
    train: TrainFlow = DEFAULTS.train,
    evaluate: EvaluateFlow = DEFAULTS.evaluate,
    rising: float = 0.0,
) -> dict[str, Any]:
    counts = {name: 5.0 if name == bucket else 2.0 for name in MEANS}
    return next_step("generative", counts, rising, train, evaluate)


def value_at(section: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), section)


@pytest.mark.parametrize("bucket", MEANS)
def test_the_next_step_is_a_change_that_the_schema_accepts(tmp_path: Path, bucket: str) -> None:
    found = the_step(bucket)
    ((key, value),) = found["change"].items()
    assert found["bucket"] == bucket
    assert found["command"] == f"dvc exp run -S '{key}={value}'"
    assert found["why"].startswith(f"5 samples more are {bucket} (")
    now = changed(tmp_path, found["change"])
    assert value_at(now, key) == value != value_at(DEFAULTS, key.removeprefix("generative."))
    assert Generative.model_validate(now.generative.model_dump()) == now.generative


def test_while_quality_still_rises_longer_training_comes_first(tmp_path: Path) -> None:
    found = the_step("collapsed", rising=0.3)
    assert found["change"] == {"generative.train.review": [100, 200, 300, 400, 500, 750]}
    assert "quality still rose by 30% between the last two reviewed steps" in found["why"]
    assert changed(tmp_path, found["change"]).generative.train.steps == 750


@pytest.mark.parametrize("bucket", ["broken", "blurred", "collapsed"])
def test_without_label_dropout_the_next_step_is_one_that_params_allow(
    tmp_path: Path, bucket: str
) -> None:
    before = {"generative.train.label_dropout": 0.0, "generative.evaluate.guidance": 1.0}
    own = changed(tmp_path, before).generative
    found = the_step(bucket, own.train, own.evaluate)
    assert found["change"] == {"generative.train.label_dropout": 0.1}
    changed(tmp_path, {**before, **found["change"]})


def test_where_nothing_fails_the_next_step_says_so() -> None:
    found = next_step(
        "generative", dict.fromkeys(MEANS, 0.0), 0.0, DEFAULTS.train, DEFAULTS.evaluate
    )
    assert found["why"].startswith("samples fail no more often than real images do; ")


@pytest.mark.parametrize(
    ("bucket", "stage", "given_"),
    [
        ("broken", "evaluate", {"guidance": 0.0}),
        ("collapsed", "evaluate", {"guidance": 0.1}),
        ("copied", "train", {"weight_decay": 0.3}),
        ("blurred", "evaluate", {"guidance": 0.0}),
        ("collapsed", "evaluate", {"guidance": 0.0}),
        ("copied", "train", {"weight_decay": 0.00002}),
    ],
)
def test_from_any_params_the_next_step_changes_something_that_may_be_changed(
    tmp_path: Path, bucket: str, stage: str, given_: dict[str, Any]
) -> None:
    before = {f"generative.{stage}.{name}": value for name, value in given_.items()}
    own = changed(tmp_path, before).generative
    change = the_step(bucket, own.train, own.evaluate)["change"]
    now = changed(tmp_path, {**before, **change}).generative
    ((key, value),) = change.items()
    was = value_at(own, key.removeprefix("generative."))
    assert value != was
    if bucket == "copied":
        assert value > was
    assert now != own


# A person's notes.


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Return what writes the notes' file, in a project of its own."""
    monkeypatch.chdir(tmp_path)

    def write(content: bytes) -> Path:
        file = Path("data/review/generative.md")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    return write


def test_a_note_is_what_stands_below_its_heading(note: Callable[[bytes], Path]) -> None:
    note(
        "# Review\n\nnot a note\n\n## Quality\nSharp,\n  and  whole.\n\nA café. ### no heading\n"
        "##  Failure modes \t\n## Choice\n#hash\n### deeper\nstep 400".encode()
    )
    assert notes("generative") == {
        "Quality": "Sharp, and whole. A café. ### no heading",
        "Failure modes": "",
        "Choice": "#hash ### deeper step 400",
    }


def test_comments_are_no_notes_even_where_they_hold_a_heading(
    note: Callable[[bytes], Path],
) -> None:
    note(b"<!-- a\n## Hidden\n-->\n## Quality <!-- b -->\n<!-- c -->good<!--\n## D\n--> so far\n")
    assert notes("generative") == {"Quality": "good so far"}


def test_windows_line_ends_change_no_note(note: Callable[[bytes], Path]) -> None:
    note(b"## Quality\r\ngood\r\n\r\n## Choice\r\n")
    assert notes("generative") == {"Quality": "good", "Choice": ""}


def test_the_notes_in_git_ask_every_question_and_answer_is_up_to_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert set(notes("generative")) == {"Quality", "Diversity", "Failures", "Choice"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no heading; write each note below one"),
        (b"# Review\nall is well\n", "no heading; write each note below one"),
        (b"<!-- ## Quality -->\n", "no heading; write each note below one"),
        (b"## Quality\ncaf\xe9\n", "not UTF-8 at byte 14; save it as UTF-8"),
        ("## Quality\n".encode("utf-16"), "not UTF-8 at byte 0; save it as UTF-8"),
    ],
)
def test_notes_that_cannot_be_read_are_refused_in_one_line(
    note: Callable[[bytes], Path], content: bytes, said: str
) -> None:
    path = note(content)
    with pytest.raises(Refusal) as refusal:
        notes("generative")
    assert str(refusal.value).startswith(f"{path}: {said}")
    assert "\n" not in str(refusal.value)


def test_notes_that_are_not_there_are_refused_with_the_way_to_get_them_back(
    note: Callable[[bytes], Path],
) -> None:
    path = note(b"")
    path.unlink()
    said = f"{path}: No such file or directory; `git checkout -- {path}` gets it back"
    with pytest.raises(Refusal, match=f"^{said}$"):
        notes("generative")
    path.mkdir()
    with pytest.raises(Refusal, match="Is a directory"):
        notes("generative")


# What the schema refuses.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train.review": []}, "generative.train.review: given []; "),
        (
            {"train.review": [100, 120]},
            "generative.train: review (given [100, 120]) must rise, each step a multiple of log_",
        ),
        ({"train.review": [200, 100]}, "generative.train: review (given [200, 100]) must rise"),
        ({"train.review": [100, 100]}, "generative.train: review (given [100, 100]) must rise"),
        ({"train.review": [0, 100]}, "generative.train.review.0: given 0; "),
        (
            {"train.log_every": 600},
            "generative.train: review (given [100, 200, 300, 400, 500]) must ",
        ),
        (
            {"train.channels": [32, 60]},
            "generative.train.channels: given [32, 60]; must be multiples of 8",
        ),
        ({"train.channels": []}, "generative.train.channels: given []; "),
        ({"train.average": 1.0}, "generative.train.average: given 1.0; must be less than 1"),
        ({"train.label_dropout": 1.0}, "generative.train.label_dropout: given 1.0; "),
        ({"train.batch_size": 1}, "generative.train.batch_size: given 1; "),
        (
            {"prepare.size": 9},
            "generative: prepare.size (given 9) must be a multiple of 2: train.channels names 2",
        ),
        (
            {"train.channels": [8, 8, 8, 8, 8]},
            "generative: prepare.size (given 8) must be a multiple of 16: train.channels names 5",
        ),
        ({"evaluate.samples": 49}, "generative.evaluate.samples: given 49; "),
        ({"evaluate.guidance": -0.5}, "generative.evaluate.guidance: given -0.5; "),
        ({"evaluate.sampling_seeds": [0, 0]}, "generative.evaluate.sampling_seeds: given [0, 0]"),
        ({"evaluate.solver_steps": 1001}, "generative.evaluate.solver_steps: given 1001; "),
        ({"evaluate.close_share": 0.0}, "generative.evaluate.close_share: given 0.0; "),
    ],
)
def test_params_that_cannot_be_are_refused_with_the_key(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        changed(tmp_path, {f"generative.{key}": value for key, value in changes.items()})
    line = str(refusal.value).removeprefix(f"{tmp_path / 'params.yaml'}: ")
    assert line.startswith(said)
    assert "\n" not in line


def test_params_at_the_edge_are_accepted(tmp_path: Path) -> None:
    found = changed(
        tmp_path,
        {
            "generative.train.review": [50, 500],
            "generative.train.channels": [8, 8, 8, 8],
            "generative.train.average": 0.0,
            "generative.evaluate.guidance": 0.0,
            "generative.evaluate.samples": 50,
        },
    ).generative
    assert found.train.epochs == 10
    odd = {"generative.prepare.size": 9, "generative.train.channels": [8]}
    assert changed(tmp_path, odd).generative.prepare.size == 9


def test_the_schema_asks_for_the_groups_that_the_flow_has() -> None:
    assert schema._GROUP == GROUP
