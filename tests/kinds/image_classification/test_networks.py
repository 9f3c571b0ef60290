"""The networks: shapes at any size, blocks, mirrored predictions, and the optimizers."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import default_task, merge, read_params, with_frozen_features
from torch import nn

from stages.core.errors import UserError
from stages.kinds.image_classification.model import build
from stages.kinds.image_classification.schema import TrainImages
from stages.kinds.params import check_params
from stages.training.classification import adam_rate, make_optimizer
from stages.training.image_networks import ImageClassifier, residual_features
from stages.training.sanity_checks.network import layer_shapes


def train(**changes: Any) -> TrainImages:
    params = default_task("image").params.train.model_dump()
    merge(params, changes)
    return TrainImages.model_validate(params)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    side=st.integers(4, 70),
    stem=st.sampled_from([1, 2, 4]),
    channels=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    first=st.integers(0, 2),
)
def test_a_residual_network_takes_any_size(
    side: int, stem: int, channels: list[int], first: int
) -> None:
    blocks = [first, *[1] * (len(channels) - 1)]
    features = residual_features(channels, 3, blocks, stem).eval()
    assert features(torch.zeros(2, 3, side, side)).shape == (2, channels[-1])


def test_each_level_halves_the_sides() -> None:
    model = ImageClassifier(residual_features([2, 3, 4], 1, [0, 1, 2], 2), 4, 5, 1)
    shapes = layer_shapes(model, torch.zeros(1, 1, 32, 32))
    convolutions = shapes[shapes["kind"] == "Conv2d"]["output_shape"].tolist()
    assert convolutions[0] == "(1, 2, 16, 16)"
    assert convolutions[1] == "(1, 3, 8, 8)"
    assert convolutions[-1] == "(1, 4, 4, 4)"
    assert len(convolutions) == 1 + 3 + 3 + 2  # stem; two blocks with, and one without a shortcut


def test_one_block_a_level_is_the_default() -> None:
    assert count(residual_features([4, 8], 1)) == count(residual_features([4, 8], 1, [1, 1]))


def test_convnext_tiny_has_its_published_size() -> None:
    model = build(train(model="convnext_tiny"), 3, 1000)
    assert count(model) == pytest.approx(28.6e6, rel=0.01)


def test_where_training_flips_a_prediction_is_that_of_two_views_a_pixel_apart() -> None:
    torch.manual_seed(0)
    flip = {"rotate": 0.0, "translate": 0.1, "scale": 0.0, "shear": 0.0, "flip": True}
    model, images = build(train(augment=flip), 1, 3), torch.rand(4, 1, 8, 8)
    model.eval()
    later, earlier = [1, 0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7, 6]  # the row or column shown
    moved, moved_back = (images[:, :, rows][..., rows] for rows in (later, earlier))
    model.mirror = False
    mean = (model.embed(moved) + model.embed(moved_back.flip(-1))) / 2
    model.mirror = True
    assert torch.allclose(model.embed(images), mean, atol=1e-6)
    plain = build(train(augment={**flip, "flip": False}), 1, 3).eval()
    assert torch.equal(plain.embed(images), plain.features((images - plain.mean) / plain.std))


def test_a_layer_that_runs_twice_is_listed_once() -> None:
    flip = {"rotate": 0.0, "translate": 0.0, "scale": 0.0, "shear": 0.0, "flip": True}
    shapes = layer_shapes(build(train(augment=flip), 1, 3), torch.zeros(2, 1, 8, 8))
    assert shapes["layer"].is_unique


def test_sgd_decays_weights_and_neither_biases_nor_norms() -> None:
    model = build(train(), 1, 3)
    params = train(optimizer="sgd", learning_rate=0.2, weight_decay=0.01)
    optimizer = make_optimizer(model, params)
    decayed, free = optimizer.param_groups
    assert decayed["weight_decay"] == 0.01
    assert free["weight_decay"] == 0
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in free["params"]} == {1}
    assert adam_rate(params) == pytest.approx(0.002)
    assert adam_rate(train(learning_rate=0.2)) == 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": [1]}, "blocks (given [1]) must name a number for each of channels (2)"),
        ({"blocks": [1, 0]}, "only the first may be 0"),
        ({"model": "tiny_cnn", "blocks": [1, 1]}, "blocks are of model: residual"),
        ({"stem_stride": 3}, "train.stem_stride"),
        ({"optimizer": "adam"}, "train.optimizer"),
        ({"model": "tiny_cnn", "initial_weights": "imagenet"}, "resnet18 or convnext_tiny"),
        (
            {"low_resolution": {"share": 0.5, "size": 8}},
            "train.low_resolution.size (given 8) must be",
        ),
        ({"low_resolution": {"share": 1.0, "size": 6}}, "train.low_resolution.share"),
        (
            {
                "model": "tiny_cnn",
                "channels": [4, 4, 4, 4],
                "low_resolution": {"share": 0.5, "size": 4},
            },
            "train.low_resolution.size (given 4) must be at least 8: train.channels names 4 levels",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_one_line(changes: dict[str, Any], message: str) -> None:
    params = read_params()
    merge(params["tasks"]["image"]["train"], changes)
    with pytest.raises(UserError) as error:
        check_params(params)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("size", "key"), [(8, "baseline.frozen_features.size"), (None, "prepare.size")]
)
def test_a_frozen_network_needs_images_of_a_pixel_at_its_last_level(
    size: int | None, key: str
) -> None:
    params = read_params()
    section = params["tasks"]["image"]
    with_frozen_features(section, "start.safetensors", channels=[4] * 5, size=size)
    with pytest.raises(UserError, match=rf"{key} \(given 8\) must be at least 16: baseline\."):
        check_params(params)
    section["baseline"]["frozen_features"]["size"] = 16
    check_params(params)
