"""What the measurements on a GPU count and choose, where there is none."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.project import ROOT, default_task, environment
from torch import nn

from gpu.chains import distances, same_bytes
from gpu.cifar import CANDIDATES, choose, read_airbench, with_train
from gpu.report import PAGE, first_reached, not_run, page, read_results
from gpu.steps import Meter, metered, per_step
from stages.core.schema import Runtime
from stages.tools.tolerance import Tolerance
from stages.training.devices import launch_fabric
from stages.training.loop import TrainingRun, fit

TABLE = """
-----------------------------------------------------------------------------------------
|  warmup  |         |  2.3  |  0.1  |          |          |          0.3000  |
|  run     |  epoch  |  train_loss  |  train_acc  |  val_acc  |  tta_val_acc  |  total_time_seconds  |
|       0  |      0  |  1.9  |  0.5  |  0.6000  |          |          0.2000  |
|          |      1  |  1.5  |  0.6  |  0.7000  |          |          0.4000  |
|          |   eval  |  1.5  |  0.6  |  0.7000  |  0.7500  |          0.5000  |
|       1  |      0  |  1.9  |  0.5  |  0.6100  |          |          0.2100  |
|          |   eval  |  1.9  |  0.5  |  0.6100  |  0.6600  |          0.3100  |
"""


def test_the_page_shows_the_recorded_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_results())


def test_the_page_names_what_was_not_run(tmp_path: Path) -> None:
    assert len(not_run({})) == 4
    assert read_results(tmp_path) == {}
    measured: dict[str, list[object]] = {"proposal": [], "resnet18": []}
    complete: dict[str, object] = {name: {} for name in ("chains", "resume", "steps")}
    assert not_run({**complete, "cifar": {"measured": measured, "steps": {}}}) == []
    assert not_run({**complete, "cifar": {"measured": {"proposal": []}, "steps": {}}}) == [
        "resnet18 on CIFAR-10's test images."
    ]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_nothing_is_recorded_without_the_device(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "gpu", "chains", "--results", str(tmp_path / "results"))
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment(), "PYTHONPATH": ".:tests"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("gpu: runtime.device: given 'cuda', which this machine lacks")
    assert len(done.stderr.strip().split("\n")) == 1
    assert not (tmp_path / "results").exists()


def test_copies_waits_and_kernels_are_counted_for_each_step() -> None:
    events: list[dict[str, Any]] = [
        {"cat": "gpu_memcpy", "name": "Memcpy HtoD (Pageable -> Device)", "args": {"bytes": 512}},
        {"cat": "gpu_memcpy", "name": "Memcpy HtoD (Pageable -> Device)", "args": {"bytes": 88}},
        {"cat": "gpu_memcpy", "name": "Memcpy DtoH (Device -> Pageable)", "args": {"bytes": 4}},
        {"cat": "gpu_memcpy", "name": "Memcpy DtoD (Device -> Device)", "args": {"bytes": 9999}},
        {"cat": "kernel", "name": "convolution", "dur": 3000},
        {"cat": "kernel", "name": "sum", "dur": 1000},
        {"cat": "cuda_runtime", "name": "cudaStreamSynchronize", "dur": 1},
        {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "dur": 1},
        {"ph": "M", "name": "process_name"},
    ]
    assert per_step(events, 2, seconds=0.010) == {
        "copies_to_device": 1.0,
        "bytes_to_device": 300,
        "largest_copy": 512,
        "copies_to_host": 0.5,
        "waits": 0.5,
        "kernels": 1.0,
        "kernel_ms": 2.0,
        "busy": 0.4,
    }


def test_the_steps_after_the_warm_up_are_metered_over_several_epochs() -> None:
    model = nn.Linear(2, 1)
    seen: list[tuple[int, int]] = []

    def scores(network: nn.Module, batch: tuple[int, int]) -> dict[str, torch.Tensor]:
        seen.append(batch)
        return {"loss": network(torch.ones(1, 2)).square().mean()}

    training = TrainingRun(
        model,
        torch.optim.SGD(model.parameters()),
        lambda _: 0.1,
        lambda epoch: [(epoch, step) for step in range(2)],
        scores,
        lambda _: {"loss": 0.0},
        epochs=9,
    )
    meter = Meter(profiled=False)
    runtime = Runtime(threads=1, cpu="avx2", device="cpu", devices=1, precision="32-true")
    fit(metered(training, meter, warm_up=3, steps=2), launch_fabric(runtime))
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert meter.seconds > 0


def test_airbenchs_table_is_read_without_its_warm_up() -> None:
    assert read_airbench(TABLE) == [
        {
            "seed": 0,
            "test_by_epoch": [0.6, 0.7],
            "seconds_by_epoch": [0.2, 0.4],
            "test": 0.75,
            "seconds": 0.5,
        },
        {
            "seed": 1,
            "test_by_epoch": [0.61],
            "seconds_by_epoch": [0.21],
            "test": 0.66,
            "seconds": 0.31,
        },
    ]


def test_validation_accuracy_and_seconds_choose() -> None:
    rows = [
        {"candidate": "slow and good", "validation": 0.93, "seconds": 30.0},
        {"candidate": "good enough", "validation": 0.91, "seconds": 10.0},
        {"candidate": "fast", "validation": 0.88, "seconds": 5.0},
    ]
    assert choose(rows, 0.90) == "good enough"
    assert choose(rows, 0.94) == "slow and good"
    assert first_reached([0.5, 0.8, 0.7], [1.0, 2.0, 3.0], 0.7) == "2.0"
    assert first_reached([0.5], [1.0], 0.7) == "-"


@pytest.mark.parametrize("name", CANDIDATES)
def test_candidates_are_params(name: str) -> None:
    changed = with_train(default_task("image"), CANDIDATES[name]).params.train
    assert {key: getattr(changed, key) for key in CANDIDATES[name]} == CANDIDATES[name]


def test_bytes_and_figures_are_compared() -> None:
    first = {"train/weights-0.safetensors": "a", "train/log.csv": "b", "evaluate/metrics.json": "c"}
    second = {**first, "train/log.csv": "x", "evaluate/new.csv": "y"}
    assert same_bytes(first, second) == {
        "files": {"weights": 1, "tables": 2, "figures": 1},
        "all": 4,
        "different": ["evaluate/new.csv", "train/log.csv"],
    }
    tolerance = Tolerance({"toy": {"current.accuracy": {"tolerance": 0.01, "committed": 0.9}}})
    committed = {"current": {"accuracy": 0.9, "log_loss": 0.3}, "baseline": {"accuracy": 0.8}}
    here = {"current": {"accuracy": 0.905, "log_loss": 0.4}, "baseline": {"accuracy": 0.8}}
    result = distances("toy", committed, here, tolerance)
    assert (result["compared"], result["equal"]) == (3, 1)
    assert [(m["metric"], m["outside"]) for m in result["metrics"]] == [
        ("current.accuracy", False),
        ("current.log_loss", True),
    ]


def test_the_recorded_figures_are_measured_against_a_tolerance_of_theirs() -> None:
    tasks = read_results()["chains"]["tasks"]
    assert set(tasks) == {"generative", "image", "sentiment", "workshop"}
    for devices in tasks.values():
        assert all(not run["problem"] for row in devices.values() for run in row["runs"])
        assert all(row["distances"]["tolerance_is_of_these"] for row in devices.values())
    assert not list((ROOT / "tests/gpu").rglob("*.pt"))
