"""Checks of the code, independent of the data: the arithmetic of the loop, and the seeds."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stages.core.runtime import seed_for
from stages.training.loop import TrainingRun, fit
from stages.training.sanity_checks.results import Check

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def code_checks() -> list[Check]:
    """Return the checks of the training loop and of the seeds."""
    return [check_loop_steps(), check_seeds()]


class _SingleProcess:
    """The part of Fabric that `fit` uses, on one CPU."""

    is_global_zero = True

    def setup(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        return model, optimizer

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def all_reduce(self, values: Tensor, reduce_op: str) -> Tensor:  # noqa: ARG002
        return values


def check_loop_steps() -> Check:
    """Check that the training loop takes two steps of gradient descent as computed by hand.

    One weight, 1 at first, is trained by squared error to map 1 to 3, then 2 to 1. The first gradient
    is 2(1 - 3) = -4: a rate of 0.1 gives 1.4. The second is 2(2.8 - 1)2 = 7.2: a rate of 0.05 gives
    1.04. A wrong rate, a gradient that is not cleared and one that does not arrive give other values.
    """
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    pairs = [(1.0, 3.0), (2.0, 1.0)]  # input, target
    weights = []

    def scores(network: nn.Module, pair: tuple[float, float]) -> dict[str, Tensor]:
        return {"loss": (network(torch.tensor([pair[0]])) - pair[1]).square().mean()}

    run = TrainingRun(
        model,
        torch.optim.SGD(model.parameters(), lr=math.nan),
        lambda step: (0.1, 0.05)[step],
        lambda _: pairs,
        scores,
        lambda _: {"loss": 0.0},
        epochs=1,
    )
    model.register_forward_pre_hook(lambda *_: weights.append(model.weight.item()))
    name, expected = "loop steps match the hand calculation", "; by hand 1 → 1.4 → 1.04"
    try:
        fit(run, cast("Fabric", _SingleProcess()))
    except RuntimeError as error:  # of torch: the loss does not depend on the weight
        return Check(name, passed=False, observed=str(error).splitlines()[0] + expected)
    weights.append(model.weight.item())
    passed = bool(np.allclose(weights, [1.0, 1.4, 1.04], rtol=1e-5, atol=0))
    observed = "one weight: " + " → ".join(f"{weight:.6g}" for weight in weights)
    return Check(name, passed, observed if passed else observed + expected)


def check_seeds() -> Check:
    """Check that `seed_for` gives the same seed in a process with another PYTHONHASHSEED."""
    seed = seed_for(0, "another process", 1)
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    root = Path(__file__).resolve().parents[3]
    program = "from stages.core.runtime import seed_for; print(seed_for(0, 'another process', 1))"
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    repeated_seed = process.stdout.strip() or "nothing"
    observed = f"seed_for gives {seed}, and {repeated_seed} in another process"
    return Check("seeds are the same in another process", repeated_seed == str(seed), observed)
