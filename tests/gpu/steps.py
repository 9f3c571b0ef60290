"""A training step on a GPU: what is copied to it, how long it takes, how busy the GPU is."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count, islice
from os import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gpu.chains import gpu_record
from stages.core.runtime import pin_threads, set_deterministic
from stages.kinds.params import load_params, load_tasks
from stages.training.devices import launch_fabric
from stages.training.loop import TrainingRun, fit

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.core.task import Task

WARM_UP, STEPS = 20, 50


class Meter:
    """What happens between two of the steps that a run makes."""

    def __init__(self, *, profiled: bool) -> None:
        self.seconds = 0.0
        self._start = 0.0
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        self._profile = torch.profiler.profile(activities=activities) if profiled else None

    def start(self) -> None:
        """Begin to measure, once the device has done what it was asked for."""
        _finish()
        if self._profile:
            self._profile.start()
        self._start = time.perf_counter()

    def stop(self) -> None:
        """End, once the device has done what it was asked for."""
        _finish()
        self.seconds = time.perf_counter() - self._start
        if self._profile:
            self._profile.stop()

    def events(self) -> list[dict[str, Any]]:
        """Return the events of the profile, as in Chrome's trace format."""
        assert self._profile
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trace.json")
            self._profile.export_chrome_trace(str(path))
            events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
        return events


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def metered(run: TrainingRun, meter: Meter, warm_up: int, steps: int) -> TrainingRun:
    """Return a run of one epoch with so many steps, the last `steps` of which are measured."""

    def batches(epoch: int) -> Iterator[Any]:
        endless = chain.from_iterable(run.batches(number) for number in count())
        yield from islice(endless, warm_up)
        meter.start()
        yield from islice(endless, steps)
        meter.stop()

    return replace(
        run, batches=batches, validate=lambda _: {"loss": 1.0}, epochs=1, checkpoint_epochs=()
    )


def measure_steps(task: "Task", fabric: "Fabric", steps: int = STEPS) -> dict[str, Any]:
    """Return what a step of a task's training takes, and copies to the device.

    The time is that of steps without a profiler, what is counted of further steps with it.

    Args:
        task: prepared, in the current folder.
        fabric: launched.
        steps: measured, after a warm-up.
    """
    training_run = task.module("train").training_runs(task, fabric)
    seed = task.params.train.seeds[0]
    plain, profiled = Meter(profiled=False), Meter(profiled=True)
    for meter in (plain, profiled):
        fit(metered(training_run(seed), meter, WARM_UP, steps), fabric, title="timing")
    return {
        "step_ms": round(1000 * plain.seconds / steps, 3),
        **per_step(profiled.events(), steps, plain.seconds),
    }


def measure_tasks(project: Path, tasks: Sequence[str]) -> dict[str, Any]:
    """Return what a step of each task takes, in a project whose data are prepared."""
    rows = {}
    with working_in(project) as by_name:
        for name in tasks:
            task = next(iter(by_name[name].folds()))
            rows[name] = measure_steps(task, launch_fabric(task.runtime))
            print(name, rows[name], flush=True)
    return {"steps": STEPS, "machine": gpu_record(), "tasks": rows}


@contextmanager
def working_in(project: Path) -> Iterator[dict[str, "Task"]]:
    """Yield the tasks of a project, which is the current folder meanwhile, ready to train."""
    before = Path.cwd()
    chdir(project)
    try:
        params = load_params()
        pin_threads(params.runtime)
        set_deterministic(params.runtime)
        yield load_tasks(params)
    finally:
        chdir(before)


def per_step(
    events: list[dict[str, Any]], steps: int, seconds: float
) -> Mapping[str, float | list[int]]:
    """Return counts of a step from a profile in Chrome's trace format.

    Args:
        events: of the profile.
        steps: in it.
        seconds: that as many steps take without a profiler.
    """
    copies = {
        direction: [
            int(event.get("args", {}).get("bytes", 0))
            for event in events
            if event.get("cat") == "gpu_memcpy" and direction in event["name"]
        ]
        for direction in ("HtoD", "DtoH")
    }
    kernels = [event["dur"] for event in events if event.get("cat") == "kernel"]
    waits = [
        event
        for event in events
        if event.get("cat") == "cuda_runtime" and "Synchronize" in event["name"]
    ]
    to_device = copies["HtoD"]
    return {
        "copies_to_device": round(len(to_device) / steps, 2),
        "bytes_to_device": round(sum(to_device) / steps),
        "largest_copy": max(to_device, default=0),
        "copies_to_host": round(len(copies["DtoH"]) / steps, 2),
        "waits": round(len(waits) / steps, 2),
        "kernels": round(len(kernels) / steps, 1),
        "kernel_ms": round(sum(kernels) / 1000 / steps, 3),
        "busy": round(sum(kernels) / 1e6 / seconds, 3),
    }
