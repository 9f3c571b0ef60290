"""Failing samples: the criterion of each kind, the cases that are shown, and the next step."""

import re
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.project import read_params

from stages.kinds.image_generation.failure_kinds import (
    BROKEN,
    COPIED,
    CRITERIA,
    classify_failures,
    select_cases,
)
from stages.kinds.image_generation.next_step import next_step
from stages.kinds.image_generation.schema import ImageGeneration

SECTION = "tasks.generative"


def tables(**changes: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return four samples of two classes that do not fail, with some columns of the tables changed."""
    samples = pd.DataFrame(
        {
            "label": [0, 0, 1, 1],
            "label_probability": 0.9,
            "nearest_distance": [0.3, 0.4, 0.5, 0.6],
            "sharpness": 0.2,
            "nearest_sample": [1, 0, 3, 2],
            "nearest_sample_distance": [1.0, 2.0, 3.0, 4.0],
        }
    )
    classes = pd.DataFrame(
        {
            "class": ["first", "second"],
            "samples": [20, 20],
            "real_images": [9, 9],
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
    """Return the positions of failing samples by kind of failure."""
    samples = classify_failures(*tables(**changes), 0.1)
    assert samples["place"].tolist() == [0, 1, 2, 3]
    return {
        bucket: np.flatnonzero(samples[f"{bucket}_fails"]).tolist()
        for bucket in CRITERIA
        if samples[f"{bucket}_fails"].any()
    }


def test_samples_like_real_images_do_not_fail() -> None:
    assert failing() == {}
    at_the_limits = {"spread": 0.5, "label_probability": 0.5, "sharpness": 0.1}
    assert failing(**at_the_limits, nearest_distance=0.1) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spread": [1.0, 0.49]}, {"collapsed": [2, 3]}),
        ({"real_spread": [2.1, 1.9]}, {"collapsed": [0, 1]}),
        ({"sharpness": [0.2, 0.09, 0.2, 0.2]}, {"blurred": [1]}),
        ({"real_sharpness_low": [0.1, 0.21]}, {"blurred": [2, 3]}),
        ({"label_probability": [0.49, 0.9, 0.9, 0.1]}, {"broken": [0, 3]}),
        ({"nearest_distance": [0.3, 0.4, 0.09, 0.0]}, {"copied": [2, 3]}),
        (
            {"nearest_distance": 0.0, "label_probability": 0.0},
            {"broken": [0, 1, 2, 3], "copied": [0, 1, 2, 3]},
        ),
        # A class without real images, and a class of few samples.
        ({"real_spread": 0.0, "real_sharpness": 0.0, "real_sharpness_low": 0.0}, {}),
        ({"samples": [1, 20], "spread": [0.0, 1.0]}, {}),
        ({"samples": [5, 20], "spread": [0.0, 1.0]}, {"collapsed": [0, 1]}),
    ],
)
def test_each_kind_of_failure_has_its_own_criterion(
    changes: dict[str, Any], expected: dict[str, list[int]]
) -> None:
    assert failing(**changes) == expected


def test_the_samples_nearest_to_failing_come_first() -> None:
    samples, classes = tables(
        spread=[0.9, 0.4],
        label_probability=[0.3, 0.8, 0.2, 0.9],
        sharpness=[0.15, 0.2, 0.12, 0.3],
        nearest_sample_distance=[1.0, 2.0, 4.0, 3.0],
    )
    classified = classify_failures(samples, classes, 0.1)
    orders = {bucket: np.argsort(classified[f"{bucket}_near"]).tolist() for bucket in CRITERIA}
    assert orders == {
        "collapsed": [3, 2, 0, 1],  # the class with the lowest spread, the nearest pair first
        "blurred": [2, 0, 1, 3],
        "broken": [2, 0, 1, 3],
        "copied": [0, 1, 2, 3],
    }
    counts = {bucket: int(classified[f"{bucket}_fails"].sum()) for bucket in CRITERIA}
    cases = select_cases(classified, counts, 3)
    assert cases["bucket"].unique().tolist() == ["collapsed", "broken", "blurred", "copied"]
    assert cases.loc[cases["bucket"] == "broken", "place"].tolist() == [2, 0, 1]
    assert cases.loc[cases["bucket"] == "broken", "kind"].tolist() == [
        "fails",
        "fails",
        "nearest to it",
    ]
    beside = cases.groupby("bucket")["beside"].unique().str[0].to_dict()
    assert beside == {**dict.fromkeys(CRITERIA, "training image"), "collapsed": "sample"}


# The next step.


def task_params(**changes: Any) -> ImageGeneration:
    """Return the params of the generator, with some changed: `tasks.generative.train.weight_decay`."""
    params = read_params()
    for path, value in changes.items():
        *sections, name = path.split(".")
        reduce(lambda section, key: section[key], sections, params)[name] = value
    return ImageGeneration.model_validate(params["tasks"]["generative"])


def propose(
    bucket: str, params: ImageGeneration, excess: float = 5.0, improvement: float = 0.0
) -> dict[str, Any]:
    counts = {name: excess if name == bucket else min(excess, 2.0) for name in CRITERIA}
    return next_step(SECTION, counts, improvement, params.train, params.evaluate)


@pytest.mark.parametrize(
    ("bucket", "before"),
    [
        *((bucket, {}) for bucket in CRITERIA),
        ("broken", {"evaluate.guidance": 0.0}),
        ("blurred", {"evaluate.guidance": 0.0}),
        ("collapsed", {"evaluate.guidance": 0.1}),
        ("collapsed", {"evaluate.guidance": 0.0}),
        ("copied", {"train.weight_decay": 0.3}),
        ("copied", {"train.weight_decay": 0.00002}),
    ],
)
def test_the_next_step_is_a_change_that_the_schema_accepts(
    bucket: str, before: dict[str, Any]
) -> None:
    before = {f"{SECTION}.{key}": value for key, value in before.items()}
    params = task_params(**before)
    step = propose(bucket, params)
    ((key, value),) = step["change"].items()
    assert step["bucket"] == bucket
    assert step["command"] == f"dvc exp run -S '{key}={value}'"
    assert step["why"].startswith(f"5 more samples are {bucket} than the share of ")
    assert re.fullmatch(
        rf"(raise|lower) \S+ from \S+ to {value:g}: 5 more samples are {bucket} than the share of real "
        "images predicts",
        step["summary"],
    )
    path = key.removeprefix(f"{SECTION}.").split(".")
    changed = task_params(**{**before, **step["change"]})
    assert reduce(getattr, path, changed) == value
    assert value != reduce(getattr, path, params)
    if bucket == COPIED:
        assert value > params.train.weight_decay


def test_while_quality_still_improves_longer_training_comes_first() -> None:
    step = propose("collapsed", task_params(), improvement=0.3)
    assert step["change"] == {f"{SECTION}.train.checkpoint_steps": [100, 200, 300, 400, 500, 750]}
    assert "quality still improved by 30% between the last two checkpoints" in step["why"]
    assert step["summary"] == "train longer: quality improved by 30% with the last checkpoint"
    assert task_params(**step["change"]).train.steps == 750


@pytest.mark.parametrize("bucket", ["broken", "blurred", "collapsed"])
def test_without_label_dropout_the_next_step_enables_guidance(bucket: str) -> None:
    before = {f"{SECTION}.train.label_dropout": 0.0, f"{SECTION}.evaluate.guidance": 1.0}
    step = propose(bucket, task_params(**before))
    assert step["change"] == {f"{SECTION}.train.label_dropout": 0.1}
    task_params(**{**before, **step["change"]})


def test_without_failures_the_next_step_says_so() -> None:
    step = propose(BROKEN, task_params(), excess=0.0)
    assert step["why"].startswith("samples fail no more often than real images do; ")
