"""The device of a training run."""

import torch
from support.project import default_runtime

from stages.training.devices import launch_fabric


def test_whatever_trains_is_restricted_to_deterministic_algorithms() -> None:
    torch.set_deterministic_debug_mode("default")
    fabric = launch_fabric(default_runtime())
    assert fabric.device.type == "cpu"
    assert (
        torch.get_deterministic_debug_mode() == 2
    )  # an algorithm without a deterministic form raises
    assert not torch.backends.cudnn.benchmark
