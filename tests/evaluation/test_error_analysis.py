"""Failure cases: their order, neighbours and likely causes, the successes, and the next step."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.schema import Failures
from stages.datasets.dataset import Dataset
from stages.evaluation.error_analysis import (
    find_failure_cases,
    nearest_neighbours,
    success_samples,
    summarise_failures,
)
from stages.evaluation.failure_causes import (
    BETWEEN_CLASSES,
    CAUSES,
    CONFIDENTLY_WRONG,
    LOW_CONFIDENCE,
    OTHER_CLASS,
    OUTLIER,
    OWN_CLASS,
    SEED_LUCK,
    Diagnosis,
    cause_definitions,
    change_in_words,
    label_smoothing_changes,
    next_step,
    shared_diagnoses,
    training_changes,
)

CLASSES = ["ant", "bee", "cat"]
ANT, BEE, CAT = range(3)
# Training samples on a line, 0.1 apart: ten ants from 0 on, ten bees from 10, ten cats from 20, and two
# ants and a bee from 30. So 0.1 is the usual distance.
TRAIN = [
    (x + 0.1 * step, label) for x, label in ((0, ANT), (10, BEE), (20, CAT)) for step in range(10)
]
TRAIN += [(30.0, ANT), (30.1, ANT), (30.2, BEE)]


@dataclass(frozen=True)
class Sample:
    """A test sample: its class, position, probabilities by seed, and the baseline's prediction."""

    label: int
    position: float
    seeds: list[list[float]]
    baseline: int = ANT


def predict(predicted: int, probability: float = 0.9) -> list[float]:
    probabilities = [(1 - probability) / 2] * 3
    probabilities[predicted] = probability
    return probabilities


def params(min_cases: int = 3, neighbours: int = 3, confident_probability: float = 0.5) -> Failures:
    return Failures(
        show=6,
        neighbours=neighbours,
        min_cases=min_cases,
        confident_probability=confident_probability,
    )


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


def cases_of(samples: list[Sample], failures: Failures | None = None) -> pd.DataFrame:
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
        "train": np.array([[position, 0.0] for position, _ in TRAIN]),
        "test": np.array([[sample.position, 0.0] for sample in samples]),
    }
    return find_failure_cases(
        [dataset(len(samples))], predictions, probabilities, features, failures or params()
    )


def cause_of(sample: Sample, failures: Failures | None = None) -> str:
    """Return the likely cause of the failure of `sample`, which must be wrong."""
    case = cases_of([sample], failures).iloc[0]
    assert case["kind"] == "wrong"
    assert case["confidently_wrong"] == (case["cause"] == CONFIDENTLY_WRONG)
    return str(case["cause"])


@pytest.mark.parametrize(
    ("train", "queries", "width", "count"), [(30, 12, 2, 7), (8, 3, 1, 40), (1, 1, 5, 1)]
)
def test_the_nearest_neighbours_are_those_of_comparing_all_pairs(
    train: int, queries: int, width: int, count: int
) -> None:
    random = np.random.default_rng(0)
    # With whole numbers the distances are exact, and many are equal.
    features = random.integers(-3, 4, (train, width)).astype(np.float32)
    positions = random.integers(-3, 4, (queries, width)).astype(np.float32)
    indices, distances = nearest_neighbours(positions, features, count)
    all_distances = np.linalg.norm(positions[:, None] - features[None], axis=2)
    count = min(count, train)
    assert indices.shape == distances.shape == (queries, count)
    np.testing.assert_allclose(distances, np.sort(all_distances, axis=1)[:, :count], atol=1e-6)
    np.testing.assert_allclose(
        np.take_along_axis(all_distances, indices, axis=1), distances, atol=1e-6
    )
    for row, lengths in zip(indices.tolist(), distances.tolist(), strict=True):
        assert len(set(row)) == count
        assert sorted(zip(lengths, row, strict=True)) == list(zip(lengths, row, strict=True))


def test_a_sample_is_its_own_nearest_neighbour_at_a_distance_of_almost_0() -> None:
    features = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    indices, distances = nearest_neighbours(features, features, 2)
    assert indices[:, 0].tolist() == list(range(50))
    assert (distances[:, 0] < 0.01).all()
    assert (distances[:, 1] > 0.1).all()


def test_all_mistakes_are_cases_and_the_most_confident_one_comes_first() -> None:
    samples = [Sample(ANT, 0.0, [predict(BEE, p)]) for p in (0.6, 0.9, 0.4, 0.7)]
    samples.insert(2, Sample(ANT, 0.0, [predict(ANT, 0.5)]))
    cases = cases_of(samples)
    assert cases["id"].tolist() == ["test-1", "test-4", "test-0", "test-3"]
    assert cases["confidence"].tolist() == pytest.approx([0.9, 0.7, 0.6, 0.4])
    assert set(cases["kind"]) == {"wrong"}


def test_the_least_confident_correct_samples_fill_up_to_min_cases() -> None:
    samples = [Sample(ANT, 0.0, [predict(ANT, p)]) for p in (0.9, 0.5, 0.99, 0.6)]
    samples.append(Sample(ANT, 0.0, [predict(CAT, 0.4)]))
    cases = cases_of(samples, params(min_cases=4))
    assert cases["id"].tolist() == ["test-4", "test-1", "test-3", "test-0"]
    assert cases["kind"].tolist() == ["wrong", "weak", "weak", "weak"]


def test_fewer_samples_than_min_cases_are_all_cases() -> None:
    samples = [Sample(ANT, 0.0, [predict(ANT)]), Sample(BEE, 10.0, [predict(BEE)])]
    assert len(cases_of(samples, params(min_cases=9))) == 2


def test_a_label_that_every_seed_and_the_neighbours_contradict_is_a_confident_mistake() -> None:
    assert (
        cause_of(Sample(ANT, 10.3, [predict(BEE), predict(BEE), predict(BEE)])) == CONFIDENTLY_WRONG
    )


def test_a_single_seed_accuses_no_label() -> None:
    assert cause_of(Sample(ANT, 10.3, [predict(BEE)])) == OTHER_CLASS


def test_no_mistake_is_confident_if_one_seed_predicts_a_third_class() -> None:
    assert (
        cause_of(Sample(ANT, 10.3, [predict(BEE), predict(BEE), predict(CAT, 0.5)])) == OTHER_CLASS
    )


def test_no_mistake_is_confident_if_one_seed_predicts_it() -> None:
    assert (
        cause_of(Sample(ANT, 10.3, [predict(BEE), predict(BEE), predict(ANT, 0.5)])) == OTHER_CLASS
    )


def test_a_confidently_wrong_needs_a_mean_probability_of_the_margin() -> None:
    seeds = [predict(BEE, 0.875), predict(BEE, 0.375)]  # 0.625 in the mean
    assert (
        cause_of(Sample(ANT, 10.3, seeds), params(confident_probability=0.625)) == CONFIDENTLY_WRONG
    )
    assert cause_of(Sample(ANT, 10.3, seeds), params(confident_probability=0.626)) == OTHER_CLASS


def test_a_mistake_is_confident_only_if_most_neighbours_have_the_predicted_class() -> None:
    # At 30.16 the nearest three are an ant, an ant and a bee; the nearest one is the bee.
    sample = Sample(ANT, 30.16, [predict(BEE), predict(BEE)])
    assert cause_of(sample, params(neighbours=1)) == CONFIDENTLY_WRONG
    assert cause_of(sample, params(neighbours=2)) == BETWEEN_CLASSES  # half is not most
    assert cause_of(sample, params(neighbours=3)) == BETWEEN_CLASSES


def test_failures_of_fewer_than_half_of_the_seeds_are_luck() -> None:
    assert cause_of(Sample(ANT, 0.3, [predict(BEE), predict(ANT), predict(ANT)])) == SEED_LUCK
    assert cause_of(Sample(ANT, 20.3, [predict(BEE), predict(ANT)])) == OTHER_CLASS  # just half


def test_luck_takes_precedence_over_distance() -> None:
    assert cause_of(Sample(ANT, 5.0, [predict(BEE), predict(ANT), predict(ANT)])) == SEED_LUCK


def test_a_sample_far_from_the_training_samples_is_unlike_them() -> None:
    assert cause_of(Sample(ANT, 5.0, [predict(BEE), predict(BEE)])) == OUTLIER
    assert cause_of(Sample(ANT, 1.05, [predict(BEE), predict(BEE)])) == OUTLIER
    assert (
        cause_of(Sample(ANT, 0.95, [predict(BEE), predict(BEE)])) == OWN_CLASS
    )  # 0.05 is near enough


def test_a_confidently_wrong_takes_precedence_over_distance() -> None:
    assert cause_of(Sample(ANT, 9.0, [predict(BEE), predict(BEE)])) == CONFIDENTLY_WRONG


def test_a_sample_near_both_the_true_and_the_predicted_class_is_between_them() -> None:
    assert cause_of(Sample(ANT, 30.1, [predict(BEE), predict(BEE)])) == BETWEEN_CLASSES
    assert cause_of(Sample(ANT, 30.1, [predict(CAT), predict(CAT)])) == OWN_CLASS  # no cat is near


def test_a_sample_near_a_third_class_only_is_drawn_to_another_class() -> None:
    assert cause_of(Sample(ANT, 20.3, [predict(BEE), predict(BEE)])) == OTHER_CLASS


def test_a_correct_sample_is_no_mistake() -> None:
    cases = cases_of(
        [Sample(ANT, 10.3, [predict(ANT, 0.4), predict(ANT, 0.4)])],
        params(confident_probability=0.1),
    )
    assert cases["kind"].tolist() == ["weak"]
    assert not cases["confidently_wrong"].any()


def test_the_change_compares_with_the_baseline() -> None:
    cases = cases_of(
        [
            Sample(ANT, 0.0, [predict(BEE, 0.9)], baseline=ANT),
            Sample(ANT, 0.0, [predict(BEE, 0.8)], baseline=BEE),
            Sample(ANT, 0.0, [predict(BEE, 0.7)], baseline=CAT),
            Sample(BEE, 0.0, [predict(BEE, 0.5)], baseline=CAT),
            Sample(BEE, 0.0, [predict(BEE, 0.6)], baseline=BEE),
        ],
        params(min_cases=5),
    )
    expected = ["broken", "persistent", "persistent", "fixed", "kept"]
    assert cases["change"].tolist() == expected
    assert cases["baseline"].tolist() == ["ant", "bee", "cat", "cat", "bee"]


def test_a_case_has_predictions_failure_rate_and_neighbours() -> None:
    samples = [
        Sample(BEE, 10.0, [predict(BEE)] * 4),
        Sample(ANT, 30.12, [[0.125, 0.625, 0.25], predict(BEE), predict(ANT), predict(CAT)]),
    ]
    row = cases_of(samples).iloc[0]
    assert (row["id"], row["row"], row["true"], row["predicted"]) == ("test-1", 501, "ant", "bee")
    assert (row["confidence"], row["probability_of_true"]) == (0.625, 0.125)
    assert row["failure_rate"] == 0.75
    assert row["bucket"] == "ant → bee"
    # Training samples 31 (30.1), 32 (30.2) and 30 (30.0), by their ids and rows.
    assert row["neighbours"] == "image-31 | image-32 | image-30"
    assert row["neighbour_rows"] == "131 132 130"
    assert row["neighbour_labels"] == "ant | bee | ant"
    assert row["nearest_distance"] == pytest.approx(0.02)


def test_the_bucket_of_a_weak_case_names_its_second_most_probable_class() -> None:
    row = cases_of([Sample(ANT, 0.0, [[0.5, 0.125, 0.375]])]).iloc[0]
    assert (row["kind"], row["predicted"], row["bucket"]) == ("weak", "ant", "ant → cat")


def test_the_primary_seed_alone_decides_what_is_a_case() -> None:
    samples = [
        Sample(ANT, 0.0, [predict(ANT), predict(BEE)]),
        Sample(ANT, 0.0, [predict(BEE), predict(ANT)]),
    ]
    cases = cases_of(samples)
    assert cases["kind"].tolist() == ["wrong", "weak"]
    assert cases["id"].tolist() == ["test-1", "test-0"]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    label = st.integers(0, 2)
    rows = draw(
        st.lists(st.tuples(label, label, label, st.integers(34, 100)), min_size=1, max_size=40)
    )
    table = pd.DataFrame(rows, columns=["label", "baseline", "seed_0", "confidence"])
    table["confidence"] /= 100
    table["id"] = [f"image-{index:02}" for index in range(len(table))]
    table["row"] = np.arange(len(table)) + 7
    return table


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(6, 12))
def test_successes_are_correct_samples_from_the_most_to_the_least_confident(
    predictions: pd.DataFrame, count: int
) -> None:
    successes = success_samples(dataset(), predictions, "seed_0", count)
    correct = predictions[predictions["seed_0"] == predictions["label"]]
    assert len(successes) == min(count, len(correct))
    assert successes["id"].is_unique
    assert set(successes["id"]) <= set(correct["id"])
    assert (successes["true"] == successes["predicted"]).all()
    assert successes["confidence"].is_monotonic_decreasing
    if len(successes) > 1:
        assert successes["confidence"].iloc[0] == correct["confidence"].max()
        assert successes["confidence"].iloc[-1] == correct["confidence"].min()
    rows = predictions.set_index("id").loc[successes["id"]]
    assert successes["row"].tolist() == rows["row"].tolist()
    assert successes["baseline"].tolist() == [CLASSES[label] for label in rows["baseline"]]


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
    successes = success_samples(dataset(), predictions, "seed_0", 6)
    assert (successes["confidence"] * count).round().tolist() == [50, 40, 30, 20, 10, 0]


def test_equally_confident_successes_are_in_the_order_of_their_ids() -> None:
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
    assert success_samples(dataset(), predictions, "seed_0", 6)["id"].tolist() == ["a", "b", "c"]


@settings(max_examples=40, deadline=None)
@given(tables())
def test_the_summary_counts_each_test_sample_once(predictions: pd.DataFrame) -> None:
    cases = pd.DataFrame(columns=["kind", "cause", "bucket", "confidently_wrong"])
    changes = summarise_failures(predictions, cases, "seed_0")["changes"]
    assert sum(changes.values()) == len(predictions)
    correct = (predictions["seed_0"] == predictions["label"]).sum()
    baseline_correct = (predictions["baseline"] == predictions["label"]).sum()
    assert changes["fixed"] + changes["kept"] == correct
    assert changes["broken"] + changes["kept"] == baseline_correct
    assert changes["fixed"] - changes["broken"] == correct - baseline_correct


def test_the_summary_counts_changes_of_all_samples_and_causes_of_the_cases() -> None:
    samples = [
        Sample(ANT, 10.3, [predict(BEE), predict(BEE), predict(BEE)], baseline=ANT),
        Sample(ANT, 10.3, [predict(BEE), predict(BEE), predict(BEE)], baseline=BEE),
        Sample(ANT, 0.3, [predict(BEE), predict(ANT), predict(ANT)], baseline=ANT),
        *[Sample(CAT, 20.3, [predict(CAT, 0.99)] * 3, baseline=CAT)] * 4,
        *[Sample(CAT, 20.3, [predict(CAT, 0.5)] * 3, baseline=ANT)] * 3,
    ]
    cases = cases_of(samples, params(min_cases=4))
    predictions = pd.DataFrame(
        {
            "label": [sample.label for sample in samples],
            "baseline": [sample.baseline for sample in samples],
            "seed_0": [int(np.argmax(sample.seeds[0])) for sample in samples],
        }
    )
    summary = summarise_failures(predictions, cases, "seed_0")
    assert summary["changes"] == {"fixed": 3, "broken": 2, "persistent": 1, "kept": 4}
    assert summary["failure_case_count"] == 4
    assert summary["kinds"] == {"weak": 1, "wrong": 3}
    assert summary["causes"] == {LOW_CONFIDENCE: 1, SEED_LUCK: 1, CONFIDENTLY_WRONG: 2}
    assert summary["buckets"] == {"ant → bee": 3, "cat → ant": 1}
    assert summary["confidently_wrong"] == 2


PARAMS = SimpleNamespace(
    seeds=[0, 1, 2], label_smoothing=0.1, epochs=9, augment=SimpleNamespace(shear=0.2)
)


def test_the_next_step_is_the_change_for_the_most_frequent_cause() -> None:
    changes = {OUTLIER: ("augment.shear", 0.4, "more shear")}
    step = next_step("tasks.image.train", {SEED_LUCK: 2, OUTLIER: 3}, PARAMS, changes)
    assert step["change"] == {"tasks.image.train.augment.shear": 0.4}
    assert step["command"] == "dvc exp run -S 'tasks.image.train.augment.shear=0.4'"
    assert (step["cause"], step["cases"], step["case_count"]) == (OUTLIER, 3, 5)
    assert step["cause_definition"] == CAUSES[OUTLIER]
    assert step["why"].endswith(f"{CAUSES[OUTLIER]}. More shear.")
    assert step["summary"] == (
        "raise augment.shear from 0.2 to 0.4: 3 of 5 failure cases are unlike the training data"
    )


@pytest.mark.parametrize(
    ("key", "before", "after", "words"),
    [
        ("epochs", 12, 18, "train longer"),
        ("train.checkpoint_steps", [100, 200], [100, 200, 300], "train longer"),
        ("channels", [8, 16], [16, 32], "widen the network"),
        ("channels", [8, 16], [4, 8], "set channels to [4, 8]"),
        ("label_smoothing", 0.05, 0.0, "lower label_smoothing from 0.05 to 0"),
        ("class_weights", None, "balanced", "set class_weights to balanced"),
    ],
)
def test_a_change_in_words(key: str, before: Any, after: Any, words: str) -> None:
    assert change_in_words(key, before, after) == words


@pytest.mark.parametrize("changes", [{}, {OUTLIER: ("augment.shear", 0.2, "as it is")}])
def test_the_next_step_is_longer_training_if_no_change_is_left(
    changes: dict[str, tuple[str, float, str]],
) -> None:
    step = next_step("tasks.image.train", {OUTLIER: 3}, PARAMS, changes)
    assert step["change"] == {"tasks.image.train.epochs": 14}
    assert step["summary"].startswith("train longer: 3 of 3 failure cases are unlike the ")


def test_the_next_step_of_a_single_seed_says_nothing_of_seeds() -> None:
    single = SimpleNamespace(**{**vars(PARAMS), "seeds": [0]})
    step = next_step("train", {LOW_CONFIDENCE: 3}, single, {})
    assert step["cause_definition"] == "the model is right, with low confidence"
    diagnoses = [Diagnosis("underfitting", "figures", 1)]
    run = SimpleNamespace(**{**vars(RUN), "seeds": [0]})
    diagnosed = next_step(
        "train", {}, run, {}, diagnoses, training_changes(run, WIDER, REGULARISE, 0.003)
    )
    assert "seed" not in step["why"] + diagnosed["why"] + step["summary"] + diagnosed["summary"]


def test_causes_that_compare_seeds_need_several() -> None:
    assert cause_definitions(3) == CAUSES
    single = cause_definitions(1)
    assert set(CAUSES) - set(single) == {CONFIDENTLY_WRONG, SEED_LUCK}
    assert "seed" not in " ".join(single.values())


def test_of_equally_frequent_causes_the_first_decides_the_next_step() -> None:
    changes = label_smoothing_changes(PARAMS)
    step = next_step("tasks.image.train", {OUTLIER: 2, CONFIDENTLY_WRONG: 2}, PARAMS, changes)
    assert step["change"] == {"tasks.image.train.label_smoothing": 0.15}
    step = next_step("tasks.image.train", {LOW_CONFIDENCE: 2}, PARAMS, changes)
    assert step["change"] == {"tasks.image.train.label_smoothing": 0.05}


# What was diagnosed comes before the causes of single failures.

RUN = SimpleNamespace(
    seeds=[0, 1, 2], label_smoothing=0.1, epochs=9, learning_rate=0.01, class_weights=None
)
WIDER = ("label_smoothing", 0.3, "stands for a wider network")
REGULARISE = ("label_smoothing", 0.2, "stands for weight decay")


def row(name: str, seed: int = 0) -> dict[str, Any]:
    return {"seed": seed, "name": name, "observed": f"{name} of seed {seed}", "remedy": "r"}


@pytest.mark.parametrize(
    ("diagnostics", "warnings", "name", "seeds"),
    [
        ([], [], None, None),
        ([row("overfitting")], [], None, None),  # one seed of three
        ([row("overfitting"), row("overfitting", 2)], [], "overfitting", 2),
        ([row("overfitting", seed) for seed in range(3)] + [row("underfitting", 0)] * 2, [],
         "underfitting", 2),
        ([row("underfitting", seed) for seed in range(3)], [row("never predicts class b")],
         "never predicts", 3),
        ([], [row("label noise")], None, None),  # it calls for a look at the labels
    ],
)  # fmt: skip
def test_the_most_fundamental_diagnosis_of_half_the_seeds_counts(
    diagnostics: list[dict[str, Any]],
    warnings: list[dict[str, Any]],
    name: str | None,
    seeds: int | None,
) -> None:
    first = next(iter(shared_diagnoses(diagnostics, warnings, 3)), None)
    assert (first and first.name, first and first.runs) == (name, seeds)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("undertrained", {"epochs": 18}),
        ("underfitting", {"label_smoothing": 0.3}),
        ("overfitting", {"label_smoothing": 0.2}),
        ("plateau", {"learning_rate": 0.0033}),
        ("no loss decrease", {"learning_rate": 0.001}),
        ("never predicts", {"class_weights": "balanced"}),
        ("never recognises", {"class_weights": "balanced"}),
    ],
)
def test_the_next_step_follows_from_the_diagnosis(name: str, change: dict[str, Any]) -> None:
    training = training_changes(RUN, WIDER, REGULARISE, 0.003)
    step = next_step("train", {OUTLIER: 3}, RUN, {}, [Diagnosis(name, "figures", 2)], training)
    assert step["change"] == {f"train.{key}": value for key, value in change.items()}
    assert step["diagnosis"] == name
    assert step["why"].startswith(f"Diagnosed in 2 runs, {name}: figures. ")
    assert (step["cause"], step["cases"]) == (OUTLIER, 3)


def test_a_learning_rate_below_the_usual_one_is_raised() -> None:
    run = SimpleNamespace(learning_rate=1e-9, epochs=2)
    training = training_changes(run, None, REGULARISE, 0.003)
    assert training["no loss decrease"][0][:2] == ("learning_rate", 1e-8)
    assert training["plateau"][0][:2] == ("learning_rate", 3e-9)


def test_a_network_that_cannot_grow_is_trained_for_longer() -> None:
    training = training_changes(RUN, None, REGULARISE, 0.003)
    step = next_step("train", {}, RUN, {}, [Diagnosis("underfitting", "figures", 3)], training)
    assert step["change"] == {"train.epochs": 18}


def test_a_change_that_is_made_already_leaves_the_cause_to_decide() -> None:
    balanced = SimpleNamespace(**{**vars(RUN), "class_weights": "balanced"})
    training = training_changes(balanced, WIDER, REGULARISE, 0.003)
    changes = {OUTLIER: ("label_smoothing", 0.4, "as an example")}
    diagnoses = shared_diagnoses([], [row("never predicts class b")], 3)
    step = next_step("train", {OUTLIER: 3}, balanced, changes, diagnoses, training)
    assert step["change"] == {"train.label_smoothing": 0.4}
    assert step["diagnosis"] is None


def test_a_change_that_is_made_already_leaves_the_next_diagnosis_to_decide() -> None:
    balanced = SimpleNamespace(**{**vars(RUN), "class_weights": "balanced"})
    training = training_changes(balanced, WIDER, REGULARISE, 0.003)
    undertrained = [row("undertrained", seed) for seed in range(3)]
    diagnoses = shared_diagnoses(undertrained, [row("never predicts class b")], 3)
    step = next_step("train", {OUTLIER: 3}, balanced, {}, diagnoses, training)
    assert (step["diagnosis"], step["change"]) == ("undertrained", {"train.epochs": 18})
    assert step["why"].startswith("Diagnosed in 3 runs, undertrained: ")
