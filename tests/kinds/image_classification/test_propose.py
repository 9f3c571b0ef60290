"""What is proposed for images of any number and size."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import read_params

from stages.core.params import parse_yaml
from stages.kinds.image_classification.model import imagenet_file
from stages.kinds.image_classification.propose import baseline_seconds, frozen_features, plans
from stages.kinds.image_proposal import SIZES
from stages.kinds.params import check_params
from stages.kinds.plans import SplitSizes
from stages.kinds.proposal import fill_template, read_template
from stages.kinds.split_proposal import propose_split

VALUES = {
    "name": "photos",
    "path": "data/raw/digits",
    "layout": "classes",
    "labels": "null",
    "groups": "null",
    "colours": "3",
    "min_per_class": "3",
    "methods": "        - most_frequent_class",
    "frozen_features": "null",
    "seeds": "        - 0",
    "class_weights": "null",
    "flip": "true",
    "metric": "accuracy",
    "worthwhile_gain": "0.05",
}


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(size=st.sampled_from(SIZES), samples=st.integers(100, 2_000_000), groups=st.integers(0, 40))
def test_every_plan_is_allowed(size: int, samples: int, groups: int) -> None:
    split = propose_split(samples, {}, {(f"p{n}", name): 3 for n in range(groups) for name in "ab"})
    for plan in plans(size, split.sizes):
        values = (
            VALUES
            | dict(plan.values)
            | {"size": str(size), "epochs": str(plan.epochs), "threads": "2"}
        )
        values["split_section"] = split.section
        template = read_template("image_classification", "template.yaml")
        if "- logistic_regression" not in values["methods"]:
            head, _, rest = template.partition("      logistic_regression:\n")
            template = head + rest[rest.index("      frozen_features:") :]
        params = read_params()
        params["tasks"] = parse_yaml(fill_template(template, values))
        task: Any = check_params(params).tasks["photos"]
        assert task.prepare.split.folds == split.sizes.folds
        assert 0 < plan.relative_cost <= 1
        assert 1 <= plan.min_epochs <= plan.epochs


@given(train=st.integers(3, 1_000_000), more=st.integers(1, 1_000_000))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_more_images_need_fewer_epochs(train: int, more: int) -> None:
    few, many = (plans(32, SplitSizes(count, 1, 1))[-1].epochs for count in (train, train + more))
    assert few >= many


def test_baselines_take_no_longer_for_images_larger_than_their_blocks() -> None:
    assert baseline_seconds(50_000, 3, 32) == pytest.approx(61, rel=0.02)
    assert baseline_seconds(50_000, 3, 128) == baseline_seconds(50_000, 3, 32)
    assert baseline_seconds(50_000, 3, 16) == baseline_seconds(50_000, 3, 32) / 4


def test_large_images_meet_a_coarse_stem_and_small_ones_few_levels() -> None:
    def network(size: int) -> tuple[str, int]:
        values = plans(size, SplitSizes(4000, 1, 1))[0].values
        return values["stem_stride"], values["channels"].count("-")

    assert network(8) == ("1", 2)
    assert network(28) == network(32) == ("1", 4)
    assert network(64) == ("2", 4)
    assert network(128) == ("4", 4)


def test_a_frozen_network_is_proposed_where_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    sizes = SplitSizes(4000, 500, 500)
    assert frozen_features(32, sizes) == (0, 0.0)
    imagenet_file("resnet18").parent.mkdir(parents=True)
    imagenet_file("resnet18").touch()
    side, seconds = frozen_features(32, sizes)
    assert side == 64
    assert 1 < seconds < 60
    assert frozen_features(128, SplitSizes(50_000, 5000, 10_000)) == (0, 0.0)  # over a minute
