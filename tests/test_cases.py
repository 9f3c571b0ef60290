"""Failure cases: chosen in order, beside their true neighbours, each with the cause that it has."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.shared.cases import (
    AMONG,
    BETWEEN,
    CAUSES,
    DRAWN,
    LUCK,
    SUSPECT,
    UNLIKE,
    WEAK,
    find,
    nearest,
    successes,
    summarise,
)
from stages.shared.dataset import Dataset
from stages.shared.schema import Failures

CLASSES = ["ant", "bee", "cat"]
ANT, BEE, CAT = range(3)
# Training samples 0.1 apart in a row: ten ants at 0, ten bees at 10, ten cats at 20, and at 30 two
# ants and a bee. So 0.1 is the usual distance.
TRAIN = [
    (x + 0.1 * step, label) for x, label in ((0, ANT), (10, BEE), (20, CAT)) for step in range(10)
]
TRAIN += [(30.0, ANT), (30.1, ANT), (30.2, BEE)]


@dataclass(frozen=True)
class Sample:
    """A test sample: its class, where it lies, each seed's probabilities, the baseline's guess."""

    label: int
    place: float
    seeds: list[list[float]]
    baseline: int = ANT


def sure(guess: int, probability: float = 0.9) -> list[float]:
    rest = [(1 - probability) / 2] * 3
    rest[guess] = probability
    return rest


def params(at_least: int = 3, neighbours: int = 3, suspect_margin: float = 0.5) -> Failures:
    return Failures(show=6, neighbours=neighbours, at_least=at_least, suspect_margin=suspect_margin)


def dataset(tests: int = 0) -> Dataset:
    count = len(TRAIN) + tests
    samples = pd.DataFrame(
        {
            "row": np.arange(count) + 100,
            "id": [f"image-{index:02}" for index in range(count)],
            "label": [label for _, label in TRAIN] + [ANT] * tests,
            "group": "",
            "split": ["train"] * len(TRAIN) + ["test"] * tests,
        }
    )
    order = np.random.default_rng(0).permutation(tests) + len(TRAIN)  # the splits may interleave
    return Dataset(
        samples.iloc[[*order[: tests // 2], *range(len(TRAIN)), *order[tests // 2 :]]],
        {"classes": CLASSES},
    )


def found(samples: list[Sample], given_params: Failures | None = None) -> pd.DataFrame:
    predictions = pd.DataFrame(
        {
            "id": [f"test-{index}" for index in range(len(samples))],
            "row": np.arange(len(samples)) + 500,
            "label": [sample.label for sample in samples],
            "baseline": [sample.baseline for sample in samples],
        }
    )
    seeds = len(samples[0].seeds)
    probabilities = {
        f"seed_{seed}": np.array([sample.seeds[seed] for sample in samples], dtype=np.float32)
        for seed in range(seeds)
    }
    features = {
        "train": np.array([[place, 0.0] for place, _ in TRAIN]),
        "test": np.array([[sample.place, 0.0] for sample in samples]),
    }
    return find(
        dataset(len(samples)), predictions, probabilities, features, given_params or params()
    )


def cause(sample: Sample, given_params: Failures | None = None) -> str:
    """Return the cause given to `sample`, which must be wrong."""
    row = found([sample], given_params).iloc[0]
    assert row["kind"] == "wrong"
    assert row["suspect_label"] == (row["cause"] == SUSPECT)
    return str(row["cause"])


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 30), st.integers(0, 12), st.integers(1, 5), st.integers(1, 40), st.integers(0)
)
def test_the_nearest_are_those_of_comparing_each_with_each(
    features: int, queries: int, width: int, count: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    # Whole numbers: every distance is exact, and many are equal.
    among = random.integers(-3, 4, (features, width)).astype(np.float32)
    asked = random.integers(-3, 4, (queries, width)).astype(np.float32)
    places, distances = nearest(asked, among, count)
    every = np.linalg.norm(asked[:, None] - among[None], axis=2)
    taken = min(count, features)
    assert places.shape == distances.shape == (queries, taken)
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :taken], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, places, axis=1), distances, atol=1e-6)
    for row, lengths in zip(places.tolist(), distances.tolist(), strict=True):
        assert len(set(row)) == taken
        assert sorted(zip(lengths, row, strict=True)) == list(zip(lengths, row, strict=True))


def test_the_nearest_are_found_when_queries_are_asked_in_parts() -> None:
    random = np.random.default_rng(0)
    among, asked = random.normal(size=(40, 8)), random.normal(size=(1100, 8))
    places, distances = nearest(asked, among, 4)
    every = np.linalg.norm(asked[:, None] - among[None], axis=2)
    np.testing.assert_array_equal(places, np.argsort(every, axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :4])


def test_a_sample_is_its_own_nearest_at_a_distance_of_nearly_zero() -> None:
    among = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    places, distances = nearest(among, among, 2)
    assert places[:, 0].tolist() == list(range(50))
    assert (distances[:, 0] < 0.01).all()
    assert (distances[:, 1] > 0.1).all()


def test_the_surest_mistake_comes_first_and_all_mistakes_are_cases() -> None:
    samples = [Sample(ANT, 0.0, [sure(BEE, p)]) for p in (0.6, 0.9, 0.4, 0.7)]
    samples.insert(2, Sample(ANT, 0.0, [sure(ANT, 0.5)]))
    cases = found(samples)
    assert cases["id"].tolist() == ["test-1", "test-4", "test-0", "test-3"]
    assert cases["confidence"].tolist() == pytest.approx([0.9, 0.7, 0.6, 0.4])
    assert set(cases["kind"]) == {"wrong"}


def test_the_least_confident_right_samples_fill_up_to_at_least() -> None:
    samples = [Sample(ANT, 0.0, [sure(ANT, p)]) for p in (0.9, 0.5, 0.99, 0.6)]
    samples.append(Sample(ANT, 0.0, [sure(CAT, 0.4)]))
    cases = found(samples, params(at_least=4))
    assert cases["id"].tolist() == ["test-4", "test-1", "test-3", "test-0"]
    assert cases["kind"].tolist() == ["wrong", "weak", "weak", "weak"]


def test_fewer_samples_than_at_least_are_all_cases() -> None:
    samples = [Sample(ANT, 0.0, [sure(ANT)]), Sample(BEE, 10.0, [sure(BEE)])]
    assert len(found(samples, params(at_least=9))) == 2


def test_a_label_that_every_seed_and_the_neighbours_deny_is_suspect() -> None:
    assert cause(Sample(ANT, 10.3, [sure(BEE), sure(BEE), sure(BEE)])) == SUSPECT


def test_a_label_is_not_suspect_where_one_seed_names_a_third_class() -> None:
    assert cause(Sample(ANT, 10.3, [sure(BEE), sure(BEE), sure(CAT, 0.5)])) == DRAWN


def test_a_label_is_not_suspect_where_one_seed_believes_it() -> None:
    assert cause(Sample(ANT, 10.3, [sure(BEE), sure(BEE), sure(ANT, 0.5)])) == DRAWN


def test_a_label_is_suspect_from_the_margin_of_mean_probability_on() -> None:
    seeds = [sure(BEE, 0.875), sure(BEE, 0.375)]  # 0.625 in the mean
    assert cause(Sample(ANT, 10.3, seeds), params(suspect_margin=0.625)) == SUSPECT
    assert cause(Sample(ANT, 10.3, seeds), params(suspect_margin=0.626)) == DRAWN


def test_a_label_is_suspect_only_where_most_neighbours_have_the_other_one() -> None:
    # At 30.16 the nearest three are an ant, an ant and a bee; the nearest one is the bee.
    sample = Sample(ANT, 30.16, [sure(BEE), sure(BEE)])
    assert cause(sample, params(neighbours=1)) == SUSPECT
    assert cause(sample, params(neighbours=2)) == BETWEEN  # half of them is not most
    assert cause(sample, params(neighbours=3)) == BETWEEN


def test_fewer_than_half_of_the_seeds_failing_is_luck() -> None:
    assert cause(Sample(ANT, 0.3, [sure(BEE), sure(ANT), sure(ANT)])) == LUCK
    assert cause(Sample(ANT, 20.3, [sure(BEE), sure(ANT)])) == DRAWN  # half of them is not fewer


def test_luck_is_named_before_distance() -> None:
    assert cause(Sample(ANT, 5.0, [sure(BEE), sure(ANT), sure(ANT)])) == LUCK


def test_a_sample_far_from_all_that_was_learnt_is_unlike_it() -> None:
    assert cause(Sample(ANT, 5.0, [sure(BEE), sure(BEE)])) == UNLIKE
    assert cause(Sample(ANT, 1.05, [sure(BEE), sure(BEE)])) == UNLIKE
    assert cause(Sample(ANT, 0.95, [sure(BEE), sure(BEE)])) == AMONG  # 0.05 is near enough


def test_a_sample_far_from_all_may_still_have_a_suspect_label() -> None:
    assert cause(Sample(ANT, 9.0, [sure(BEE), sure(BEE)])) == SUSPECT


def test_a_sample_among_both_the_true_and_the_predicted_class_is_between_them() -> None:
    assert cause(Sample(ANT, 30.1, [sure(BEE), sure(BEE)])) == BETWEEN
    assert cause(Sample(ANT, 30.1, [sure(CAT), sure(CAT)])) == AMONG  # no cat is near


def test_a_sample_among_a_third_class_is_drawn_to_another() -> None:
    assert cause(Sample(ANT, 20.3, [sure(BEE), sure(BEE)])) == DRAWN


def test_every_cause_given_is_one_that_is_explained() -> None:
    assert set(CAUSES) == {SUSPECT, WEAK, LUCK, UNLIKE, BETWEEN, DRAWN, AMONG}


def test_the_label_of_a_right_sample_is_never_suspect() -> None:
    cases = found([Sample(ANT, 10.3, [sure(ANT, 0.4), sure(ANT, 0.4)])], params(suspect_margin=0.1))
    assert cases["kind"].tolist() == ["weak"]
    assert not cases["suspect_label"].any()


def test_a_change_says_what_the_baseline_made_of_it() -> None:
    cases = found(
        [
            Sample(ANT, 0.0, [sure(BEE, 0.9)], baseline=ANT),
            Sample(ANT, 0.0, [sure(BEE, 0.8)], baseline=BEE),
            Sample(ANT, 0.0, [sure(BEE, 0.7)], baseline=CAT),
            Sample(BEE, 0.0, [sure(BEE, 0.5)], baseline=CAT),
            Sample(BEE, 0.0, [sure(BEE, 0.6)], baseline=BEE),
        ],
        params(at_least=5),
    )
    expected = ["broken", "persistent", "persistent", "fixed", "kept"]
    assert cases["change"].tolist() == expected
    assert cases["baseline"].tolist() == ["ant", "bee", "cat", "cat", "bee"]


def test_a_case_says_what_was_predicted_by_whom_and_beside_which_samples() -> None:
    samples = [
        Sample(BEE, 10.0, [sure(BEE)] * 4),
        Sample(ANT, 30.12, [[0.125, 0.625, 0.25], sure(BEE), sure(ANT), sure(CAT)]),
    ]
    row = found(samples).iloc[0]
    assert (row["id"], row["row"], row["true"], row["predicted"]) == ("test-1", 501, "ant", "bee")
    assert (row["confidence"], row["probability_of_true"]) == (0.625, 0.125)
    assert row["failure_rate"] == 0.75
    assert row["bucket"] == "ant → bee"
    # Training samples 31 (30.1), 32 (30.2) and 30 (30.0), by their ids and rows.
    assert row["neighbours"] == "image-31 | image-32 | image-30"
    assert row["neighbour_rows"] == "131 132 130"
    assert row["neighbour_labels"] == "ant | bee | ant"
    assert row["nearest_distance"] == pytest.approx(0.02)


def test_the_second_guess_of_a_weak_sample_stands_for_the_predicted() -> None:
    row = found([Sample(ANT, 0.0, [[0.5, 0.125, 0.375]])]).iloc[0]
    assert (row["kind"], row["predicted"], row["bucket"]) == ("weak", "ant", "ant → cat")


def test_the_headline_model_alone_decides_what_is_a_case() -> None:
    samples = [Sample(ANT, 0.0, [sure(ANT), sure(BEE)]), Sample(ANT, 0.0, [sure(BEE), sure(ANT)])]
    cases = found(samples)
    assert cases["kind"].tolist() == ["wrong", "weak"]
    assert cases["id"].tolist() == ["test-1", "test-0"]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    guess = st.integers(0, 2)
    rows = draw(
        st.lists(st.tuples(guess, guess, guess, st.integers(34, 100)), min_size=1, max_size=40)
    )
    table = pd.DataFrame(rows, columns=["label", "baseline", "seed_0", "confidence"])
    table["confidence"] /= 100
    table["id"] = [f"image-{index:02}" for index in range(len(table))]
    table["row"] = np.arange(len(table)) + 7
    return table


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(6, 12))
def test_successes_are_right_samples_from_the_surest_to_the_least_sure(
    predictions: pd.DataFrame, count: int
) -> None:
    shown = successes(dataset(), predictions, "seed_0", count)
    right = predictions[predictions["seed_0"] == predictions["label"]]
    assert len(shown) == min(count, len(right))
    assert shown["id"].is_unique
    assert set(shown["id"]) <= set(right["id"])
    assert (shown["true"] == shown["predicted"]).all()
    assert shown["confidence"].is_monotonic_decreasing
    if len(shown) > 1:
        assert shown["confidence"].iloc[0] == right["confidence"].max()
        assert shown["confidence"].iloc[-1] == right["confidence"].min()
    asked = predictions.set_index("id").loc[shown["id"]]
    assert shown["row"].tolist() == asked["row"].tolist()
    assert shown["baseline"].tolist() == [CLASSES[guess] for guess in asked["baseline"]]


def test_successes_are_evenly_spaced() -> None:
    count = 51
    predictions = pd.DataFrame(
        {
            "id": [f"image-{index:02}" for index in range(count)],
            "row": np.arange(count),
            "label": BEE,
            "baseline": ANT,
            "seed_0": BEE,
            "confidence": np.random.default_rng(0).permutation(count) / count,
        }
    )
    shown = successes(dataset(), predictions, "seed_0", 6)
    assert (shown["confidence"] * count).round().tolist() == [50, 40, 30, 20, 10, 0]


def test_among_equally_sure_successes_the_ids_decide() -> None:
    predictions = pd.DataFrame(
        {
            "id": ["c", "a", "b"],
            "row": [1, 2, 3],
            "label": ANT,
            "baseline": ANT,
            "seed_0": ANT,
            "confidence": 0.5,
        }
    )
    assert successes(dataset(), predictions, "seed_0", 6)["id"].tolist() == ["a", "b", "c"]


@settings(max_examples=40, deadline=None)
@given(tables())
def test_a_summary_counts_each_test_sample_once(predictions: pd.DataFrame) -> None:
    cases = pd.DataFrame(columns=["kind", "cause", "bucket", "suspect_label"])
    changes = summarise(predictions, cases, "seed_0")["changes"]
    assert sum(changes.values()) == len(predictions)
    right = predictions["seed_0"] == predictions["label"]
    before = predictions["baseline"] == predictions["label"]
    assert changes["fixed"] + changes["kept"] == right.sum()
    assert changes["broken"] + changes["kept"] == before.sum()
    assert changes["fixed"] - changes["broken"] == right.sum() - before.sum()


def test_a_summary_counts_changes_over_all_samples_and_causes_over_the_cases() -> None:
    samples = [
        Sample(ANT, 10.3, [sure(BEE), sure(BEE), sure(BEE)], baseline=ANT),
        Sample(ANT, 10.3, [sure(BEE), sure(BEE), sure(BEE)], baseline=BEE),
        Sample(ANT, 0.3, [sure(BEE), sure(ANT), sure(ANT)], baseline=ANT),
        *[Sample(CAT, 20.3, [sure(CAT, 0.99)] * 3, baseline=CAT)] * 4,
        *[Sample(CAT, 20.3, [sure(CAT, 0.5)] * 3, baseline=ANT)] * 3,
    ]
    cases = found(samples, params(at_least=4))
    predictions = pd.DataFrame(
        {
            "label": [sample.label for sample in samples],
            "baseline": [sample.baseline for sample in samples],
            "seed_0": [int(np.argmax(sample.seeds[0])) for sample in samples],
        }
    )
    summary = summarise(predictions, cases, "seed_0")
    assert summary["changes"] == {"fixed": 3, "broken": 2, "persistent": 1, "kept": 4}
    assert summary["failure_case_count"] == 4
    assert summary["kinds"] == {"weak": 1, "wrong": 3}
    assert summary["causes"] == {WEAK: 1, LUCK: 1, SUSPECT: 2}  # no seed fails on the weak one
    assert summary["buckets"] == {"ant → bee": 3, "cat → ant": 1}
    assert summary["suspect_labels"] == 2
