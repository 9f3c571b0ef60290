"""The training loop, for every task; and how a killed run goes on.

A run is cut into epochs. Each draws its random numbers from seeds named by (seed, purpose, epoch),
so the state after an epoch is all that the next one needs: it is saved whole, and a run that was
killed at any moment goes on from there and ends in the same bytes.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stages.shared.refusal import Refusal
from stages.shared.runtime import seed_for
from stages.shared.weights import learnt, read_weights_and_metadata, write_weights

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.shared.schema import FitClassifier, Runtime

Scores = dict[str, Tensor]
History = list[dict[str, float]]
RESUME = Path("data/resume")


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes:
        model: what is trained.
        optimizer: over the model's parameters.
        learning_rate: step -> learning rate; a function, so that it needs no state.
        batches: epoch -> the epoch's batches, of which each process takes its own.
        scores: (model, batch) -> "loss", with a gradient, and further scalars to log.
        validate: model -> the same scores on validation data; the lowest loss chooses the epoch.
        epochs: how many.
        average: how much of the weights' moving average stays at each step; where above 0, it is
            the average that is validated and kept (Polyak and Juditsky, 1992; exponential).
        review: epochs whose weights are kept, beside the chosen one's.
        chance: the loss of knowing nothing; None where that has no closed form.
    """

    model: nn.Module
    optimizer: Optimizer
    learning_rate: Callable[[int], float]
    batches: Callable[[int], Iterable[Any]]
    scores: Callable[[nn.Module, Any], Scores]
    validate: Callable[[nn.Module], dict[str, float]]
    epochs: int
    average: float = 0.0
    review: tuple[int, ...] = ()
    chance: float | None = None


@dataclass
class Trained:
    """What training has come to: the state after an epoch, and at last the result.

    Attributes:
        weights: of the epoch with the lowest validation loss (the first of equals).
        chosen_epoch: that epoch, from 0.
        history: a row an epoch.
        step: optimizer steps taken.
        reviewed: the weights after each epoch that was to be kept.
        average: the moving average of the weights, where there is one.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    chosen_epoch: int = -1
    history: History = field(default_factory=list)
    step: int = 0
    reviewed: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)


def fit(
    job: Job,
    fabric: "Fabric",
    state_file: Path | None = None,
    on_epoch: Callable[[History], None] = lambda _: None,
) -> Trained:
    """Train, and return the weights of the epoch with the lowest validation loss.

    Args:
        job: what to train.
        fabric: the device, precision and processes, launched.
        state_file: where the state after each epoch is kept; a run that finds one goes on from it.
            None: it is not kept.
        on_epoch: called with the history so far, once at the start and after each epoch.

    Raises:
        Refusal: the loss is no longer finite.
    """
    model, optimizer = fabric.setup(job.model, job.optimizer)
    # After set-up, which moves and converts the parameters.
    trained = restore(job, state_file) if state_file else Trained()
    kept = _averaging(job, trained)
    on_epoch(trained.history)
    for epoch in range(len(trained.history), job.epochs):
        model.train()
        sums, batches = torch.zeros(0), 0
        names: list[str] = []
        for batch in job.batches(epoch):
            for group in optimizer.param_groups:
                group["lr"] = job.learning_rate(trained.step)
            scores = job.scores(model, batch)  # tensors -> layers -> logits -> loss
            optimizer.zero_grad()
            fabric.backward(scores["loss"])  # a gradient for every parameter
            optimizer.step()  # every parameter moves a little against its gradient
            if isinstance(kept, AveragedModel):
                kept.update_parameters(job.model)
            values = torch.stack([score.detach().float() for score in scores.values()]).cpu()
            names = list(scores)
            sums = values if batches == 0 else sums + values
            batches += 1
            trained.step += 1
        shared = fabric.all_reduce(sums / batches, reduce_op="mean")  # over the processes
        assert isinstance(shared, Tensor)  # noqa: S101 (for the type checker)
        means = dict(zip(names, shared.tolist(), strict=True))
        model.eval()
        with torch.no_grad(), _holding(job.model, kept):
            validation = job.validate(model)
        row = {
            "epoch": float(epoch),
            "learning_rate": job.learning_rate(trained.step - 1),
            **{f"train_{name}": value for name, value in means.items()},
            **{f"validation_{name}": value for name, value in validation.items()},
        }
        _refuse_infinite(row)
        trained.history.append(row)
        losses = [past["validation_loss"] for past in trained.history]
        if losses[-1] < min(losses[:-1], default=math.inf):
            trained.chosen_epoch = epoch
            trained.weights = _copy(kept)
        if epoch in job.review:
            trained.reviewed[epoch] = _copy(kept)
        if kept is not job.model:
            trained.average = _copy(kept)
        if state_file and fabric.is_global_zero:
            save_state(job, trained, state_file)
        on_epoch(trained.history)
    return trained


def _averaging(job: Job, trained: Trained) -> nn.Module:
    """Return the module whose weights are judged and kept: the model, or its moving average."""
    if not job.average:
        return job.model
    kept = AveragedModel(job.model, multi_avg_fn=get_ema_multi_avg_fn(job.average))  # type: ignore[no-untyped-call]
    if trained.average:
        kept.module.load_state_dict(trained.average, strict=False)
        kept.n_averaged.fill_(trained.step)
    return kept


@contextmanager
def _holding(model: nn.Module, kept: nn.Module) -> Iterator[None]:
    """Let `model` hold the kept weights, so that it is asked as it was set up: device, precision."""
    if kept is model:
        yield
        return
    own = _copy(model)
    model.load_state_dict(_copy(kept), strict=False)
    yield
    model.load_state_dict(own, strict=False)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    inner = model.module if isinstance(model, AveragedModel) else model
    return {name: tensor.detach().cpu().clone() for name, tensor in learnt(inner).items()}


def _refuse_infinite(row: Mapping[str, float]) -> None:
    for name, value in row.items():
        if not math.isfinite(value):
            raise Refusal(
                f"not finite: {name} is {value} at epoch {row['epoch']:.0f}; lower learning_rate "
                f"(it was {row['learning_rate']:g}) first, then look at the inputs' scale"
            )


Batch = tuple[tuple[Tensor, ...], Tensor]


def shuffled(
    count: int, size: int, seed: int, epoch: int, fabric: "Fabric"
) -> Iterator[np.ndarray]:
    """Yield this process's share of each batch of an epoch, as rising places among `count` samples.

    The last, smaller batch is left out; it holds other samples each epoch.

    Args:
        count: training samples.
        size: of a batch, over all processes.
        seed: the run's.
        epoch: from 0.
        fabric: which process this is, of how many.
    """
    share = size // fabric.world_size
    order = np.random.default_rng(seed_for(seed, "order", epoch)).permutation(count)
    for step in range(count // size):
        mine = order[step * size + fabric.global_rank * share :][:share]
        yield np.sort(mine)  # the memory map is read forwards


def classifier(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    held: Callable[[], Iterable[Batch]],
    steps: int,
    params: "FitClassifier",
    classes: int,
) -> Job:
    """Return the run that trains `model` to classify, by cross entropy and AdamW.

    Args:
        model: inputs -> logits (batch, classes).
        batches: epoch -> batches of (inputs, labels), each process its own.
        held: the validation data, in batches.
        steps: batches an epoch.
        params: epochs, learning_rate (the peak of one cycle), weight_decay, label_smoothing.
        classes: how many.
    """

    def scores(network: nn.Module, batch: Batch) -> Scores:
        inputs, truth = batch
        logits = network(*inputs)
        loss = functional.cross_entropy(logits, truth, label_smoothing=params.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(dim=1) == truth).float().mean()}

    def validate(network: nn.Module) -> dict[str, float]:
        parts = [(network(*inputs).float().cpu(), truth.cpu()) for inputs, truth in held()]
        logits, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        return {
            "loss": functional.cross_entropy(logits, labels).item(),
            "accuracy": (logits.argmax(dim=1) == labels).float().mean().item(),
        }

    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=params.learning_rate,
        weight_decay=params.weight_decay,
        fused=True,
    )
    rate = one_cycle(params.learning_rate, steps * params.epochs)
    chance = math.log(classes)
    return Job(model, optimizer, rate, batches, scores, validate, params.epochs, chance=chance)


def save_state(job: Job, trained: Trained, path: Path) -> None:
    """Write the model, the kept weights, the optimizer and the history as one safetensors file."""
    optimizer = job.optimizer.state_dict()
    parts = {
        "model": learnt(job.model),
        "chosen": trained.weights,
        "average": trained.average,
        **{f"reviewed-{epoch}": weights for epoch, weights in trained.reviewed.items()},
    }
    tensors = {
        f"{part}.{name}": t for part, weights in parts.items() for name, t in weights.items()
    }
    plain: dict[str, dict[str, Any]] = {}
    for index, values in optimizer["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    notes = {
        "history": trained.history,
        "chosen_epoch": trained.chosen_epoch,
        "step": trained.step,
        "optimizer": plain,
    }
    write_weights(path, tensors, {"notes": json.dumps(notes)})


def restore(job: Job, path: Path) -> Trained:
    """Put the state in `path` into the job's model and optimizer; without one, start anew.

    Raises:
        Refusal: the file is damaged.
    """
    if not path.exists():
        return Trained()
    tensors, metadata = read_weights_and_metadata(path)
    notes = json.loads(metadata["notes"])
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in notes["optimizer"].items()
    }
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "chosen": {}, "average": {}}
    for key, tensor in tensors.items():
        part, name = key.split(".", 1)
        if part == "optimizer":
            index, name = name.split(".", 1)
            state.setdefault(int(index), {})[name] = tensor
        else:
            parts.setdefault(part, {})[name] = tensor
    job.model.load_state_dict(parts["model"], strict=False)  # what is frozen was there before
    groups = job.optimizer.state_dict()["param_groups"]
    job.optimizer.load_state_dict({"state": state, "param_groups": groups})
    reviewed = {
        int(part.removeprefix("reviewed-")): weights
        for part, weights in parts.items()
        if part.startswith("reviewed-")
    }
    history, step = notes["history"], notes["step"]
    return Trained(
        parts["chosen"], notes["chosen_epoch"], history, step, reviewed, parts["average"]
    )


def fingerprint(*parts: Any) -> str:
    """Return 16 digits that change with any of `parts`: params, data, code (files by their bytes)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


@contextmanager
def only_trainer(task: str, fabric: "Fabric") -> Iterator[None]:
    """Hold the task's lock: two trainers on one folder would write into each other's results.

    A trainer outlives a `dvc repro` that was killed; the system frees its lock when it ends. Of
    Fabric's processes the first holds it for all.

    Raises:
        Refusal: another process holds it.
    """
    if not fabric.is_global_zero:
        yield
        return
    RESUME.mkdir(parents=True, exist_ok=True)
    holder = RESUME / f"{task}.pid"
    lock = FileLock(RESUME / f"{task}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        who = holder.read_text() if holder.exists() else "unknown"
        raise Refusal(
            f"another trainer (process {who}) works on data/train/{task}; wait until it ends, or "
            f"stop it (kill {who}), then run the same command again"
        ) from None
    try:
        holder.write_text(str(os.getpid()))
        yield
        holder.unlink(missing_ok=True)
    finally:
        lock.release()


def resume_folder(task: str, mark: str) -> Path:
    """Return where a run with the fingerprint `mark` keeps its state, git-ignored, no DVC output."""
    folder = RESUME / f"{task}-{mark}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def forget(task: str) -> None:
    """Remove the states of the task's runs, once their results are written."""
    for folder in RESUME.glob(f"{task}-*"):
        shutil.rmtree(folder)


def launched(runtime: "Runtime") -> "Fabric":
    """Return Fabric for the device, processes and precision that the params name, launched.

    Raises:
        Refusal: this machine has no such device, or not so many.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    try:
        fabric = Fabric(
            accelerator=runtime.device, devices=runtime.devices, precision=runtime.precision
        )
        fabric.launch()
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise Refusal(
            f"runtime.device {runtime.device!r}, devices {runtime.devices}, precision "
            f"{runtime.precision!r}: {error}; set runtime.device: cpu, or auto"
        ) from None
    return fabric


def one_cycle(peak: float, steps: int, rise: float = 0.2) -> Callable[[int], float]:
    """Return step -> learning rate: up to `peak` over a share `rise` of `steps`, then a cosine to 0.

    Smith and Topin (2018), with the half cosines that torch's OneCycleLR uses.
    """
    top = max(1, round(rise * steps))

    def rate(step: int) -> float:
        if step < top:
            return peak * (1 - math.cos(math.pi * (step + 1) / (top + 1))) / 2
        return peak * (1 + math.cos(math.pi * (step - top) / max(1, steps - top))) / 2

    return rate
