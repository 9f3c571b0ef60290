"""The time of a task on this machine, from a few training steps on made-up samples of the same shape."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from stages.core.processes import scratch_folder
from stages.core.task import Task
from stages.kinds.plans import Cost, SplitSizes

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

    from stages.training.loop import TrainingRun

STAGE_SECONDS = 30.0  # of all stages together, for starting Python and importing libraries, about
_BATCHES = 12  # of made-up training samples
_STEP_SECONDS = 4.0  # after which no further step is timed
_VALIDATION_SAMPLES = 32
_UNEVEN = 1.2  # wall time over processor time for each thread, on an idle machine, at most
_LOAD_SECONDS = 1.0  # during which this process sleeps and the others' work is measured
_SPARE = 0.3  # cores that others may keep busy beyond those that are left over

WriteSamples = Callable[[Path, int, int], None]


@dataclass(frozen=True)
class _ScratchTask(Task):
    """A task whose stages read and write below another folder."""

    root: Path = Path()

    def folder(self, stage: str) -> Path:
        """Return the folder of a stage's outputs."""
        return self.root / super().folder(stage)


@dataclass(frozen=True)
class Timing:
    """Measured seconds.

    Attributes:
        step: of one optimizer step, with the making of its batch.
        sample: of validating one sample.
        setup: before the first epoch, for each training and validation sample.
    """

    step: float
    sample: float
    setup: float

    def cost(self, sizes: SplitSizes, batch_size: int, other_seconds: float) -> Cost:
        """Return the estimated cost of a task with splits of these sizes.

        Args:
            sizes: of the splits.
            batch_size: of training.
            other_seconds: of preparing the samples and fitting the baselines.
        """
        steps = max(1, sizes.train // batch_size)
        held_out = sizes.validation + sizes.test // sizes.folds
        features = self.sample * (sizes.train + held_out)  # of nearest neighbours
        return Cost(
            epoch=steps * self.step + sizes.validation * self.sample,
            setup=self.setup * (sizes.train + sizes.validation),
            run=self.sample * held_out,
            rest=STAGE_SECONDS + other_seconds + sizes.folds * features,
            folds=sizes.folds,
        )


@dataclass(frozen=True)
class Moment:
    """A point in time: seconds by the clock, and the processor time of this process so far."""

    wall: float
    processor: float

    @classmethod
    def read(cls, device: "torch.device") -> "Moment":
        """Return the moment at which `device` has finished all work that it was sent."""
        if device.type != "cpu":
            import torch

            torch.accelerator.synchronize(device)
        return cls(time.perf_counter(), time.process_time())

    def seconds_to(self, later: "Moment", threads: int | None) -> float:
        """Return the seconds to a later moment, as on an idle machine.

        Args:
            later: the later moment.
            threads: where other programs keep the processor busy, those that compute: the processor time
                then says what an idle machine would take. None: only the clock counts.
        """
        wall = later.wall - self.wall
        if threads is None:
            return wall
        return min(wall, _UNEVEN * (later.processor - self.processor) / threads)


def is_busy(load: float, cores: int, threads: int) -> bool:
    """Return whether other programs leave fewer cores than there are threads to compute.

    Args:
        load: the number of cores that other programs keep busy.
        cores: of the machine.
        threads: at most as many as cores.
    """
    return load > cores - threads + _SPARE


@cache
def _load() -> float:
    """Return how many cores other programs keep busy, the same in further calls.

    Not the system's load average: that of a minute still counts what has just ended, such as the
    unpacking of the data.
    """
    import psutil

    return float(psutil.cpu_percent(_LOAD_SECONDS)) / 100 * (os.cpu_count() or 1)


def busy_load(threads: int) -> float | None:
    """Return how many cores other programs keep busy if this machine is busy, otherwise None."""
    cores = os.cpu_count() or 1
    return _load() if is_busy(_load(), cores, min(threads, cores)) else None


def time_training(task: Task, write_samples: WriteSamples) -> Timing:
    """Train the task's network for a few steps on made-up samples; return the time that it takes.

    The kind's own training run is measured, so that whatever it does in a step counts. Of several devices
    one is measured, with its share of each batch: further processes would start this command again.

    Args:
        task: its params say what is trained.
        write_samples: (folder, training samples, validation samples) -> writes what the stage prepare
            would write.
    """
    from stages.training.devices import launch_fabric

    runtime = task.model_runtime.alone
    size = max(1, task.params.train.batch_size // task.runtime.processes)
    train = task.params.train.model_copy(update={"batch_size": size})
    params = task.params.model_copy(update={"train": train})
    fabric = launch_fabric(runtime)
    # No smaller network must be proposed because something else runs for a moment.
    busy = fabric.device.type == "cpu" and busy_load(runtime.threads) is not None
    threads = min(runtime.threads, os.cpu_count() or 1) if busy else None
    setup_seconds = []
    with scratch_folder() as root:
        scratch = _ScratchTask(task.name, task.kind, params, runtime, root=root)
        for batches in (1, 1, _BATCHES):  # the first one loads libraries and weights
            write_samples(scratch.folder("prepare"), batches * size, _VALIDATION_SAMPLES)
            start = Moment.read(fabric.device)
            training_run = task.module("train").training_runs(scratch, fabric)
            setup_seconds.append(start.seconds_to(Moment.read(fabric.device), threads))
        step, validation = _time_steps(training_run(train.seeds[0]), fabric, threads)
    setup = max(0.0, setup_seconds[-1] - setup_seconds[-2]) / ((_BATCHES - 1) * size)
    return Timing(step, validation / _VALIDATION_SAMPLES, setup)


def _time_steps(run: "TrainingRun", fabric: "Fabric", threads: int | None) -> tuple[float, float]:
    """Return the mean time of a training step, and the time of the validation.

    Steps differ, with the lengths of texts for example, and so does the speed of a machine that shares its
    cores: the shortest one promised 7 minutes where training took 11 (docs/log.md).
    """
    from stages.training.loop import fit

    times: list[Moment] = []
    validation_seconds = []

    def batches(epoch: int) -> Iterator[Any]:
        for batch in run.batches(epoch):
            times.append(Moment.read(fabric.device))
            yield batch
            if len(times) > 1 and time.perf_counter() - times[1].wall > _STEP_SECONDS:
                break
        times.append(Moment.read(fabric.device))

    def validate(model: Any) -> dict[str, float]:
        start = Moment.read(fabric.device)
        scores = run.validate(model)
        validation_seconds.append(start.seconds_to(Moment.read(fabric.device), threads))
        return scores

    fit(replace(run, batches=batches, validate=validate, epochs=1), fabric, title="timing")
    seconds = [before.seconds_to(after, threads) for before, after in pairwise(times)]
    return mean(seconds[1:] or seconds), validation_seconds[0]  # the first step also warms up


def write_dataset(
    folder: Path, classes: list[str], training: int, validation: int, **note: object
) -> None:
    """Write the table and the note of made-up samples, whose labels take turns in each split.

    So training has the classes of validation, unless it is the smaller one.

    Args:
        folder: of the stage prepare.
        classes: their names.
        training: number of training samples; those of validation follow.
        validation: number of validation samples.
        note: further fields of the dataset note.
    """
    import pandas as pd

    from stages.core.files import write_all

    rows = range(training + validation)
    labels = [number % len(classes) for count in (training, validation) for number in range(count)]
    samples = pd.DataFrame({"row": rows, "id": rows, "label": labels})
    samples["group"] = samples["id"]
    samples["split"] = ["train"] * training + ["validation"] * validation
    write_all(folder, {"samples.csv": samples, "dataset.json": {"classes": classes, **note}})
