"""The training loop: selection, moving average, checkpoints, and resuming after any epoch."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.errors import UserError
from stages.training.loop import TrainingRun, TrainingState, fit
from stages.training.schedules import SCHEDULES

EPOCHS = 6


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Limit torch to one thread: for a network this small a second one only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class SingleProcess:
    """The part of Fabric that `fit` uses, on one CPU."""

    is_global_zero = True

    def setup(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        return model, optimizer

    def all_reduce(self, values: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "mean"
        return values

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]


def make_run(validation_losses: list[float] | None = None) -> TrainingRun:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    labels = torch.tensor([0, 1, 1, 0])

    def batches(epoch: int) -> Iterator[Tensor]:
        random = torch.Generator().manual_seed(epoch)
        yield from torch.randn(5, 4, 3, generator=random)

    def scores(network: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": functional.cross_entropy(network(batch), labels)}

    def validate(network: nn.Module) -> dict[str, float]:
        if validation_losses is not None:
            return {"loss": validation_losses.pop(0)}
        return {"loss": functional.cross_entropy(network(torch.ones(4, 3)), labels).item()}

    optimizer = torch.optim.AdamW(model.parameters())
    return TrainingRun(
        model, optimizer, lambda step: 0.1 / (step + 1), batches, scores, validate, EPOCHS
    )


def make_convolution_run() -> TrainingRun:
    """Return a run of a network that lies in memory in channels_last, with SGD's momentum."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1))
    model = nn.Sequential(*layers, nn.Flatten()).to(memory_format=torch.channels_last)
    labels = torch.tensor([0, 1, 4, 0])

    def batches(epoch: int) -> Iterator[Tensor]:
        random = torch.Generator().manual_seed(epoch)
        yield from torch.randn(5, 4, 3, 8, 8, generator=random)

    def loss(network: nn.Module, batch: Tensor) -> Tensor:
        return functional.cross_entropy(network(batch), labels)

    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True, fused=True)
    return TrainingRun(
        model,
        optimizer,
        lambda step: 0.1 / (step + 1),
        batches,
        lambda network, batch: {"loss": loss(network, batch)},
        lambda network: {"loss": loss(network, torch.ones(4, 3, 8, 8)).item()},
        EPOCHS,
    )


def test_a_network_in_channels_last_resumes_in_the_same_bytes(tmp_path: Path) -> None:
    undisturbed = train(make_convolution_run())
    state_file = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(make_convolution_run(), state_file, stop_after=2)
    resumed = train(make_convolution_run(), state_file)
    assert resumed.history == undisturbed.history
    for name, weights in undisturbed.weights.items():
        assert torch.equal(resumed.weights[name], weights)


def make_averaged_run(validation_losses: list[float] | None = None) -> TrainingRun:
    return replace(make_run(validation_losses), ema_decay=0.8, checkpoint_epochs=(1, 3))


def train(run: TrainingRun, state_file: Path | None = None, stop_after: int = 99) -> TrainingState:
    def on_epoch(history: list[dict[str, float]]) -> None:
        if len(history) >= stop_after:
            raise KeyboardInterrupt

    return fit(run, SingleProcess(), state_file, on_epoch)  # type: ignore[arg-type]


def averages_by_hand(run: TrainingRun) -> list[dict[str, Tensor]]:
    """Return the moving average after each epoch, from the weights after the first step on."""
    averages: list[dict[str, Tensor]] = []
    average: dict[str, Tensor] = {}
    step = 0
    for epoch in range(run.epochs):
        for batch in run.batches(epoch):
            run.optimizer.param_groups[0]["lr"] = run.learning_rate(step)
            run.optimizer.zero_grad()
            run.scores(run.model, batch)["loss"].backward()  # type: ignore[no-untyped-call]
            run.optimizer.step()
            decay = run.ema_decay if step else 0.0
            average = {
                name: decay * average.get(name, 0.0) + (1 - decay) * weight.detach()
                for name, weight in run.model.named_parameters()
            }
            step += 1
        averages.append(average)
    return averages


def assert_close(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert weights.keys() == expected.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def assert_same(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("make", [make_run, make_averaged_run])
@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_a_run_stopped_after_any_epoch_ends_in_the_same_state(
    tmp_path: Path, epoch: int, make: Any
) -> None:
    whole = train(make(), tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(make(), tmp_path / "stopped.safetensors", stop_after=epoch)
    resumed = train(make(), tmp_path / "stopped.safetensors")
    assert resumed.history == whole.history
    assert (resumed.best_epoch, resumed.step) == (whole.best_epoch, whole.step)
    assert_same(resumed.weights, whole.weights)
    assert_same(resumed.ema_weights, whole.ema_weights)
    assert list(resumed.checkpoints) == list(whole.checkpoints)
    for checkpoint, weights in whole.checkpoints.items():
        assert_same(resumed.checkpoints[checkpoint], weights)
    expected = (tmp_path / "whole.safetensors").read_bytes()
    assert (tmp_path / "stopped.safetensors").read_bytes() == expected


def test_the_epoch_with_the_lowest_validation_loss_is_selected() -> None:
    run = make_run([3.0, 1.0, 2.0, 1.0, 0.9999, 5.0])
    weights: list[Tensor] = []  # at the start, and after each epoch
    state = fit(
        run,
        SingleProcess(),  # type: ignore[arg-type]
        on_epoch=lambda _: weights.append(run.model.state_dict()["weight"].clone()),
    )
    assert state.best_epoch == 4
    assert torch.equal(state.weights["weight"], weights[5])


def test_of_equal_validation_losses_the_first_is_selected() -> None:
    assert train(make_run([3.0, 1.0, 2.0, 1.0, 2.0, 1.0])).best_epoch == 1


def test_the_selected_weights_are_the_exponential_moving_average() -> None:
    expected = averages_by_hand(make_averaged_run())
    state = train(make_averaged_run([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]))
    assert state.best_epoch == 5
    assert_close(state.weights, expected[5])
    assert_close(state.ema_weights, expected[5])
    early = train(make_averaged_run([6.0, 5.0, 1.0, 3.0, 2.0, 4.0]))
    assert_close(early.weights, expected[2])
    plain = train(make_run([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]))
    assert not torch.allclose(plain.weights["weight"], expected[5]["weight"], atol=1e-4)
    assert plain.ema_weights == {}


def test_the_moving_average_is_validated() -> None:
    run, averages = make_averaged_run(), averages_by_hand(make_averaged_run())
    state = train(run)
    model = nn.Linear(3, 2)
    for row, average in zip(state.history, averages, strict=True):
        model.load_state_dict(average)
        assert row["validation_loss"] == pytest.approx(run.validate(model)["loss"], rel=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.8])
def test_the_weights_of_the_checkpoint_epochs_are_kept(decay: float) -> None:
    expected = averages_by_hand(replace(make_averaged_run(), ema_decay=decay))
    run = replace(make_averaged_run([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), ema_decay=decay)
    state = train(run)
    assert state.best_epoch == 0
    assert list(state.checkpoints) == [1, 3]
    for epoch in (1, 3):
        assert_close(state.checkpoints[epoch], expected[epoch])


def test_the_log_has_the_learning_rate_of_the_schedule() -> None:
    state = train(make_run())
    last_steps = [5 * (epoch + 1) - 1 for epoch in range(EPOCHS)]
    expected = [0.1 / (step + 1) for step in last_steps]
    assert [row["learning_rate"] for row in state.history] == expected


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    with pytest.raises(UserError, match="not finite: validation_loss is nan at epoch 1; lower"):
        train(make_run([1.0, math.nan]))
    diverging = replace(make_run(), learning_rate=lambda _: 1e30)
    with pytest.raises(UserError, match=r"not finite: train_loss is (nan|inf) at epoch 0; lower"):
        train(diverging)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    state.write_bytes(b"half")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        train(make_run(), state)


@pytest.mark.parametrize(("name", "first"), [("cosine", 0.01), ("linear", 0.03)])
def test_a_schedule_rises_to_its_peak_and_falls_to_zero(name: str, first: float) -> None:
    rate = SCHEDULES[name](0.5, 100, 0.2)
    rates = [rate(step) for step in range(100)]
    assert max(rates) == rate(20) == 0.5
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[0] < first
    assert rates[-1] < 0.01
    assert rate(60) == pytest.approx(0.25)
    assert SCHEDULES[name](1.0, 1, 0.2)(0) > 0
