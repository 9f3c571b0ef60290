"""Training: killed at any moment it goes on and ends in the same bytes; one trainer at a time."""

import math
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import change_params, environment, refused, run
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.refusal import Refusal
from stages.shared.training import Job, Trained, fingerprint, fit, one_cycle

pytestmark = pytest.mark.xdist_group("chain")

TRAIN = ("python", "-m", "stages.train", "image")


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _start(where: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        TRAIN, cwd=where, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait_for(process: subprocess.Popen[bytes], where: Path, pattern: str) -> None:
    """Wait until a file is there, or the process has ended."""
    while not list(where.glob(pattern)) and process.poll() is None:
        time.sleep(0.005)


def test_killed_at_several_points_it_ends_in_the_same_bytes(prepared: Path) -> None:
    whole = _files(prepared / "data/train/image")
    shutil.rmtree(prepared / "data/train")
    change_params(prepared, lambda params: params["image"]["train"].update(epochs=3))
    for point in ("data/resume/image.pid", "data/resume/*/0.safetensors", "data/resume/*/1.*"):
        process = _start(prepared)
        _wait_for(process, prepared, point)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (prepared / "data/train/image/log.csv").exists()
    run(prepared, *TRAIN)
    assert _files(prepared / "data/train/image") == whole
    assert not list((prepared / "data/resume").glob("image-*"))


def test_a_second_trainer_is_refused_and_the_first_goes_on(prepared: Path) -> None:
    change_params(prepared, lambda params: params["image"]["train"].update(epochs=100_000))
    first = _start(prepared)
    _wait_for(first, prepared, "data/resume/image.pid")
    line = refused(prepared, *TRAIN)
    assert line.startswith(f"train@image: another trainer (process {first.pid}) works on")
    assert first.poll() is None
    _wait_for(first, prepared, "data/resume/*/0.safetensors")
    first.kill()
    first.wait()
    change_params(prepared, lambda params: params["image"]["train"].update(epochs=1))
    run(prepared, *TRAIN)  # the system has freed the dead one's lock


def test_two_processes_train_together(prepared: Path) -> None:
    change_params(prepared, lambda params: params["runtime"].update(devices=2, threads=1))
    change_params(prepared, lambda params: params["image"]["train"].update(seeds=[0], epochs=8))
    run(prepared, *TRAIN)
    log = pd.read_csv(prepared / "data/train/image/log.csv")
    assert list(log["epoch"]) == list(range(8))
    assert log["validation_loss"].iloc[-1] < 0.7 * math.log(10)


def test_a_loss_that_is_not_finite_gets_one_line(prepared: Path) -> None:
    change_params(prepared, lambda params: params["image"]["train"].update(learning_rate=1e30))
    line = refused(prepared, *TRAIN)
    assert line.startswith("train@image: not finite: ")
    assert "lower learning_rate" in line


def test_a_device_that_is_not_there_gets_one_line(prepared: Path) -> None:
    if torch.cuda.is_available():
        change_params(prepared, lambda params: params["runtime"].update(devices=999, device="cuda"))
    else:
        change_params(prepared, lambda params: params["runtime"].update(device="cuda"))
    assert "runtime.device" in refused(prepared, *TRAIN)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Hold torch to one thread: for a network this small a second one only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class _Fabric:
    """What `fit` asks of Fabric, on one CPU; the runs above use the real one."""

    is_global_zero = True

    def setup(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        return model, optimizer

    def all_reduce(self, values: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "mean"
        return values

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]


def _job(validation: list[float] | None = None) -> Job:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    truth = torch.tensor([0, 1, 1, 0])

    def batches(epoch: int) -> Iterator[Tensor]:
        random = torch.Generator().manual_seed(epoch)
        yield from torch.randn(5, 4, 3, generator=random)

    def scores(network: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": functional.cross_entropy(network(batch), truth)}

    def validate(network: nn.Module) -> dict[str, float]:
        if validation is not None:
            return {"loss": validation.pop(0)}
        return {"loss": functional.cross_entropy(network(torch.ones(4, 3)), truth).item()}

    optimizer = torch.optim.AdamW(model.parameters())
    return Job(model, optimizer, lambda step: 0.1 / (step + 1), batches, scores, validate, 6)


def _fit(job: Job, state: Path, stop_after: int = 99) -> Trained:
    def stop(history: list[dict[str, float]]) -> None:
        if len(history) >= stop_after:
            raise KeyboardInterrupt

    return fit(job, _Fabric(), state, stop)  # type: ignore[arg-type]


@pytest.mark.parametrize("epoch", range(6))
def test_stopped_after_any_epoch_the_result_is_the_same(tmp_path: Path, epoch: int) -> None:
    whole = _fit(_job(), tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        _fit(_job(), tmp_path / "cut.safetensors", stop_after=epoch)
    rest = _fit(_job(), tmp_path / "cut.safetensors")
    assert rest.history == whole.history
    assert (rest.chosen_epoch, rest.step) == (whole.chosen_epoch, whole.step)
    assert all(torch.equal(rest.weights[name], whole.weights[name]) for name in whole.weights)
    whole_state = (tmp_path / "whole.safetensors").read_bytes()
    assert (tmp_path / "cut.safetensors").read_bytes() == whole_state


def test_the_first_epoch_with_the_lowest_validation_loss_is_taken(tmp_path: Path) -> None:
    job = _job([3.0, 1.0, 2.0, 1.0, 0.9999, 5.0])
    seen: list[Tensor] = []
    trained = fit(
        job,
        _Fabric(),  # type: ignore[arg-type]
        tmp_path / "state.safetensors",
        lambda _: seen.append(job.model.state_dict()["weight"].clone()),
    )
    assert trained.chosen_epoch == 4
    assert torch.equal(trained.weights["weight"], seen[5])  # seen[0] is before the first epoch


def _averaged(validation: list[float] | None = None) -> Job:
    return replace(_job(validation), average=0.8, review=(1, 3))


def _averages_by_hand(job: Job) -> list[dict[str, Tensor]]:
    """Return the moving average after each epoch, from the first step's weights on."""
    found: list[dict[str, Tensor]] = []
    average: dict[str, Tensor] = {}
    step = 0
    for epoch in range(job.epochs):
        for batch in job.batches(epoch):
            job.optimizer.param_groups[0]["lr"] = job.learning_rate(step)
            job.optimizer.zero_grad()
            job.scores(job.model, batch)["loss"].backward()  # type: ignore[no-untyped-call]
            job.optimizer.step()
            now = {name: p.detach().clone() for name, p in job.model.named_parameters()}
            share = job.average if step else 0.0
            average = {
                name: share * average[name] + (1 - share) * weight if step else weight
                for name, weight in now.items()
            }
            step += 1
        found.append(average)
    return found


def _close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_the_weights_kept_are_the_exponential_moving_average(tmp_path: Path) -> None:
    by_hand = _averages_by_hand(_averaged())
    trained = _fit(_averaged([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), tmp_path / "state.safetensors")
    assert trained.chosen_epoch == 5
    _close(trained.weights, by_hand[5])
    _close(trained.average, by_hand[5])
    early = _fit(_averaged([6.0, 5.0, 1.0, 3.0, 2.0, 4.0]), tmp_path / "early.safetensors")
    _close(early.weights, by_hand[2])
    last = _fit(_job([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), tmp_path / "last.safetensors")
    assert not torch.allclose(last.weights["weight"], by_hand[5]["weight"], atol=1e-4)
    assert last.average == {}


def test_it_is_the_average_that_is_validated(tmp_path: Path) -> None:
    job, by_hand = _averaged(), _averages_by_hand(_averaged())
    trained = _fit(job, tmp_path / "state.safetensors")
    model = nn.Linear(3, 2)
    for row, average in zip(trained.history, by_hand, strict=True):
        model.load_state_dict(average)
        assert row["validation_loss"] == pytest.approx(job.validate(model)["loss"], rel=1e-5)


@pytest.mark.parametrize("average", [0.0, 0.8])
def test_the_weights_of_the_epochs_to_be_reviewed_are_kept(tmp_path: Path, average: float) -> None:
    by_hand = _averages_by_hand(replace(_averaged(), average=average))
    job = replace(_averaged([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), average=average)
    trained = _fit(job, tmp_path / "state.safetensors")
    assert trained.chosen_epoch == 0
    assert list(trained.reviewed) == [1, 3]
    for epoch in (1, 3):
        _close(trained.reviewed[epoch], by_hand[epoch])


@pytest.mark.parametrize("epoch", range(6))
def test_stopped_after_any_epoch_the_average_goes_on_as_it_was(tmp_path: Path, epoch: int) -> None:
    whole = _fit(_averaged(), tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        _fit(_averaged(), tmp_path / "cut.safetensors", stop_after=epoch)
    rest = _fit(_averaged(), tmp_path / "cut.safetensors")
    assert rest.history == whole.history
    assert rest.reviewed.keys() == whole.reviewed.keys() == {1, 3}
    for mine, theirs in (
        (rest.weights, whole.weights),
        (rest.average, whole.average),
        *((rest.reviewed[kept], whole.reviewed[kept]) for kept in (1, 3)),
    ):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    whole_state = (tmp_path / "whole.safetensors").read_bytes()
    assert (tmp_path / "cut.safetensors").read_bytes() == whole_state


def test_the_learning_rate_is_the_schedules(tmp_path: Path) -> None:
    trained = _fit(_job(), tmp_path / "state.safetensors")
    last_steps = [5 * (epoch + 1) - 1 for epoch in range(6)]
    assert [row["learning_rate"] for row in trained.history] == [0.1 / (s + 1) for s in last_steps]


def test_a_validation_loss_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="validation_loss is nan at epoch 1"):
        _fit(_job([1.0, math.nan]), tmp_path / "state.safetensors")


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    state.write_bytes(b"half")
    with pytest.raises(Refusal, match="not a whole safetensors file"):
        _fit(_job(), state)


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing() -> None:
    rate = one_cycle(0.5, 100, rise=0.2)
    rates = [rate(step) for step in range(100)]
    assert max(rates) == rate(20) == 0.5
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[0] < 0.01
    assert rates[-1] < 0.001
    assert rate(60) == pytest.approx(0.25)
    assert one_cycle(1.0, 1)(0) > 0


def test_a_fingerprint_changes_with_every_part(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"1")
    marks = {fingerprint("a", file), fingerprint("b", file), fingerprint("a"), fingerprint(file)}
    file.write_bytes(b"2")
    assert len(marks | {fingerprint("a", file)}) == 5
    assert fingerprint(SimpleNamespace(x=1)) == fingerprint(SimpleNamespace(x=1))
