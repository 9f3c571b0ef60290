"""Inputs unlike the training data: a limit with a known answer, chosen on validation data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import default_task

from stages.core.files import write
from stages.evaluation.novelty import novelty_warnings, usual_distance

TRAINING = np.zeros((3, 2), np.float32)
VALIDATION = np.array([[distance / 100, 0] for distance in range(101)], np.float32)


def test_the_limit_is_the_distance_of_99_percent_of_validation_samples() -> None:
    assert usual_distance(TRAINING, VALIDATION) == pytest.approx(0.99)
    many = np.repeat(VALIDATION, 50, axis=0)  # of which every third is measured
    assert usual_distance(TRAINING, many) == pytest.approx(0.99, abs=0.01)


@pytest.mark.slow
@given(st.floats(0.125, 8))
def test_the_limit_grows_with_the_features(scale: float) -> None:
    scaled = usual_distance(TRAINING, (VALIDATION * scale).astype(np.float32))
    assert scaled == pytest.approx(0.99 * scale, rel=1e-5)


@pytest.mark.parametrize("fold", [None, 1])
def test_only_what_is_farther_is_warned_of(
    fold: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = replace(default_task("image"), fold=fold)
    inputs = np.array([[0.98, 0], [0, 1.5]], np.float32)
    assert novelty_warnings(task, inputs) == ["", ""]  # nothing has been evaluated
    suffix = "" if fold is None else f" of fold {fold}"
    stored = {f"train{suffix}": TRAINING, f"validation{suffix}": VALIDATION}
    write(Path("data/evaluate/image/features.safetensors"), stored)
    near, far = novelty_warnings(task, inputs)
    assert near == ""
    assert far == (
        "unlike the training data: its distance to the nearest training sample is 1.5 in the features of "
        "the model, that of 99% of validation samples at most 0.99"
    )
