"""The checks before training: each passes on sound code, and fails on the mistake that it names."""

import pytest
import torch
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.training.sanity_checks import code
from stages.training.sanity_checks.code import check_loop_steps, check_seeds
from stages.training.sanity_checks.network import check_input_scale, layer_shapes


# --- the loop
def test_two_steps_of_the_loop_agree_with_those_by_hand() -> None:
    check = check_loop_steps()
    assert check.passed
    assert check.observed == "one weight: 1 → 1.4 → 1.04"


def test_a_loop_that_keeps_old_gradients_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.SGD, "zero_grad", lambda _: None)
    check = check_loop_steps()  # the second gradient is -4 + 7.2
    assert not check.passed
    assert "1 → 1.4 → 1.24; by hand 1 → 1.4 → 1.04" in check.observed


def test_a_loss_without_a_gradient_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def detached(_: code._SingleProcess, loss: Tensor) -> None:
        loss.detach().backward()  # type: ignore[no-untyped-call]

    monkeypatch.setattr(code._SingleProcess, "backward", detached)
    check = check_loop_steps()
    assert not check.passed
    assert "does not require grad" in check.observed


# --- seeds
def test_seeds_are_the_same_in_another_process() -> None:
    assert check_seeds().passed


def test_seeds_by_hash_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "seed_for", lambda *purpose: hash(str(purpose)) % 2**48)
    assert not check_seeds().passed


# --- scale
@pytest.mark.parametrize(
    ("mean", "deviation", "passed"),
    [(0.0, 1.0, True), (2.7, 0.2, True), (78.0, 96.0, False), (0.0, 0.004, False)],
)
def test_inputs_of_the_first_layer_are_near_0(mean: float, deviation: float, passed: bool) -> None:
    batch = torch.tensor([-1.0, 1.0]).repeat(32).view(16, 1, 2, 2) * deviation + mean
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    check = check_input_scale(model, batch)
    assert check.passed is passed
    assert check.observed.startswith(f"the input of 0 has mean {mean:.3g} ")


def test_a_scale_that_the_model_itself_applies_counts() -> None:
    class Hundredfold(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * 100

    batch = torch.tensor([-1.0, 1.0]).repeat(32).view(16, 4)
    assert check_input_scale(nn.Linear(4, 2), batch).passed
    assert not check_input_scale(nn.Sequential(Hundredfold(), nn.Linear(4, 2)), batch).passed


# --- shapes
def test_a_layer_that_cannot_take_its_input_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(2, 1))
    with pytest.raises(UserError, match=r"every layer: 1 \(Linear\(.*cannot take \(5, 3\): "):
        layer_shapes(model, torch.zeros(5, 4))
