"""Warnings about labels, and stored weights that contradict the training log."""

import numpy as np
import pandas as pd
import pytest

from stages.core.errors import EvidenceError
from stages.evaluation.data_warnings import (
    label_noise,
    mean_cross_entropy,
    require_logged_loss,
    unrecognised_classes,
)

LN2 = float(np.log(2))


def training_log(loss: float) -> pd.DataFrame:
    return pd.DataFrame({"seed": [7, 7], "epoch": [0, 1], "validation_loss": [9.0, loss]})


def test_the_loss_of_even_probabilities_is_ln_2() -> None:
    halves = np.full((4, 2), 0.5, dtype=np.float32)
    assert mean_cross_entropy(halves, np.zeros(4, dtype=np.int64)) == pytest.approx(LN2)


def test_the_loss_of_balanced_classes_weighs_each_sample_by_its_class() -> None:
    probabilities = np.array([[0.5, 0.5]] * 3 + [[0.75, 0.25]], dtype=np.float32)
    labels = np.array([0, 0, 0, 1])
    weights = np.array([4 / 6, 4 / 2])  # 4 samples over 2 classes times 3, and times 1
    expected = (3 * 4 / 6 * LN2 + 2 * np.log(4)) / 4
    assert mean_cross_entropy(probabilities, labels, weights) == pytest.approx(expected)


def validation(*seeds: list[int]) -> pd.DataFrame:
    """Return 20 samples of class 0, 8 of class 1 and 2 of class 2 with each seed's predictions."""
    table = pd.DataFrame({"id": range(30), "label": [0] * 20 + [1] * 8 + [2] * 2})
    return table.assign(**{f"seed_{seed}": labels for seed, labels in enumerate(seeds)})


def test_a_class_of_which_no_sample_is_recognised_is_a_warning() -> None:
    predicted = [0] * 20 + [1] + [0] * 9
    table = validation([0] * 30, predicted, [1] * 20 + [0] * 10)
    (warning,) = unrecognised_classes(table, ["a", "b", "c"])
    assert warning.name == "never predicts class b"
    assert warning.observed.startswith("of 8 validation samples of class b (26.7% of all), ")
    assert "2 of 3 seeds do the same" in warning.observed
    assert "class_weights: balanced" in warning.remedy


def test_a_class_that_is_predicted_for_samples_of_others_only_is_named_so() -> None:
    (warning,) = unrecognised_classes(validation([1] + [0] * 29, [0] * 30), ["a", "b", "c"])
    assert warning.name == "never recognises class b"
    assert "2 of 2 seeds do the same" in warning.observed


def test_a_warning_on_a_single_seed_says_nothing_of_seeds() -> None:
    (warning,) = unrecognised_classes(validation([0] * 30), ["a", "b", "c"])
    assert warning.observed.endswith("(26.7% of all), the model recognises none")


def test_a_recognised_class_or_one_of_two_samples_is_no_warning() -> None:
    predicted = [0] * 20 + [1] + [0] * 9  # class 2 is not recognised either, but has 2 samples
    assert unrecognised_classes(validation(predicted, [0] * 30), ["a", "b", "c"]) == []


def test_weights_that_give_the_logged_loss_pass() -> None:
    require_logged_loss(LN2, training_log(LN2), 1, "32-true")
    require_logged_loss(LN2, training_log(LN2 * 1.04), 1, "bf16-mixed")


@pytest.mark.parametrize("factor", [1.01, 0.99])
def test_weights_that_give_another_loss_are_refused(factor: float) -> None:
    logged = LN2 * factor
    with pytest.raises(
        EvidenceError, match=rf"seed 7 give 0\.6931 .* says {logged:.4f} at epoch 1"
    ):
        require_logged_loss(LN2, training_log(logged), 1, "32-true")


def contradicted(confident: int, others: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of 200 samples, and labels some of which contradict them.

    Args:
        confident: number of contradictions among the 100 most confident.
        others: number of contradictions among the rest.
    """
    confidence = np.where(np.arange(200) < 100, 0.9, 0.6)
    labels = np.where((np.arange(200) < confident) | (np.arange(200) >= 200 - others), 1, 0)
    return np.stack([confidence, 1 - confidence], axis=1), labels


@pytest.mark.parametrize(
    ("training", "validation", "warns"),
    [
        ((5, 10), (0, 10), False),  # 5% of the confident samples
        ((6, 10), (20, 10), True),
        ((10, 35), (10, 10), False),  # 10% of the confident samples, but 22.5% of all
        ((10, 34), (10, 10), True),
        ((6, 10), (21, 10), False),  # a model that does not generalise
    ],
)
def test_labels_that_a_confident_model_contradicts_are_a_warning(
    training: tuple[int, int], validation: tuple[int, int], warns: bool
) -> None:
    warnings = label_noise(*contradicted(*training), *contradicted(*validation))
    assert [warning.name for warning in warnings] == ["label noise"] * warns
    if warns:
        assert f"of {training[0]} of the 100 training samples" in warnings[0].observed
