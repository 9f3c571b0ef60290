"""The params of an image generator: what the schema rejects and accepts."""

from typing import Any

import pytest
from support.project import read_params

from stages.core.errors import UserError
from stages.kinds.image_generation import schema
from stages.kinds.image_generation.model import GROUP
from stages.kinds.image_generation.schema import ImageGeneration
from stages.kinds.params import check_params


def generative_params(changes: dict[str, Any]) -> ImageGeneration:
    """Return the checked params of the generator, with some changed: `train.weight_decay`."""
    params = read_params()
    for path, value in changes.items():
        section, name = path.split(".")
        params["tasks"]["generative"][section][name] = value
    task = check_params(params).tasks["generative"]
    assert isinstance(task, ImageGeneration)
    return task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.checkpoint_steps": []}, ".train.checkpoint_steps: given []; "),
        (
            {"train.checkpoint_steps": [100, 120]},
            ".train: checkpoint_steps (given [100, 120]) must rise, each step a multiple of log_every",
        ),
        (
            {"train.checkpoint_steps": [200, 100]},
            ".train: checkpoint_steps (given [200, 100]) must rise",
        ),
        (
            {"train.checkpoint_steps": [100, 100]},
            ".train: checkpoint_steps (given [100, 100]) must rise",
        ),
        ({"train.checkpoint_steps": [0, 100]}, ".train.checkpoint_steps.0: given 0; "),
        (
            {"train.log_every": 600},
            ".train: checkpoint_steps (given [100, 200, 300, 400, 500]) must rise",
        ),
        ({"train.channels": [32, 60]}, ".train.channels: given [32, 60]; must be multiples of 8"),
        ({"train.channels": []}, ".train.channels: given []; "),
        ({"train.ema_decay": 1.0}, ".train.ema_decay: given 1.0; must be less than 1"),
        ({"train.label_dropout": 1.0}, ".train.label_dropout: given 1.0; "),
        (
            {"train.label_dropout": 0.0},
            ": evaluate.guidance (given 1.25) must be 1 where train.label_dropout is 0",
        ),
        ({"train.batch_size": 1}, ".train.batch_size: given 1; "),
        (
            {"prepare.size": 9},
            ": prepare.size (given 9) must be a multiple of 2: train.channels has 2 levels",
        ),
        (
            {"train.channels": [8, 8, 8, 8, 8]},
            ": prepare.size (given 8) must be a multiple of 16: train.channels has 5 levels",
        ),
        ({"evaluate.samples": 49}, ".evaluate.samples: given 49; "),
        (
            {"evaluate.neighbours": 50, "evaluate.samples": 50},
            ".evaluate: samples (given 50) must be more than neighbours (given 50)",
        ),
        ({"evaluate.guidance": -0.5}, ".evaluate.guidance: given -0.5; "),
        ({"evaluate.sampling_seeds": [0, 0]}, ".evaluate.sampling_seeds: given [0, 0]"),
        ({"evaluate.solver_steps": 1001}, ".evaluate.solver_steps: given 1001; "),
        ({"evaluate.copy_quantile": 0.0}, ".evaluate.copy_quantile: given 0.0; "),
    ],
)
def test_invalid_params_are_an_error_that_names_the_key(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        generative_params(changes)
    line = str(error.value).removeprefix("params.yaml: ")
    assert line.startswith(f"tasks.generative{message}")
    assert "\n" not in line


def test_params_at_the_limits_are_accepted() -> None:
    params = generative_params(
        {
            "train.checkpoint_steps": [50, 500],
            "train.channels": [8, 8, 8, 8],
            "train.ema_decay": 0.0,
            "evaluate.guidance": 0.0,
            "evaluate.samples": 50,
        }
    )
    assert params.train.epochs == 10
    odd_size = generative_params({"prepare.size": 9, "train.channels": [8]})
    assert odd_size.prepare.size == 9


def test_the_schema_requires_the_groups_of_the_network() -> None:
    assert schema._GROUP == GROUP
