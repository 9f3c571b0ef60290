"""The state of an unfinished run on disk, and the lock against two trainers of one task.

Resume states are in data/resume, which is git-ignored and not an output of DVC: DVC deletes outputs
before a stage runs.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.optim import Optimizer

from stages.core.errors import UserError
from stages.core.task import RESUME
from stages.training.weights import read_weights_and_metadata, trainable_state, write_weights

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def save_state(
    path: Path, model: nn.Module, optimizer: Optimizer, state: Mapping[str, Any]
) -> None:
    """Write the model, the optimizer and a `TrainingState`'s fields as one safetensors file."""
    parts = {
        "model": trainable_state(model),
        "weights": state["weights"],
        "ema_weights": state["ema_weights"],
        **{f"checkpoint-{epoch}": weights for epoch, weights in state["checkpoints"].items()},
    }
    tensors = {
        f"{part}.{name}": tensor
        for part, weights in parts.items()
        for name, tensor in weights.items()
    }
    scalars: dict[str, dict[str, Any]] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                scalars.setdefault(str(index), {})[name] = value
    metadata = {name: state[name] for name in ("history", "best_epoch", "step")}
    write_weights(path, tensors, {"state": json.dumps({**metadata, "optimizer": scalars})})


def restore_state(path: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Load the state in `path` into the model and the optimizer; return the state's fields.

    Raises:
        UserError: the file is damaged.
    """
    tensors, metadata = read_weights_and_metadata(path)
    state = json.loads(metadata["state"])
    moments: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in state.pop("optimizer").items()
    }
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "weights": {}, "ema_weights": {}}
    for key, tensor in tensors.items():
        part, name = key.split(".", 1)
        if part == "optimizer":
            index, name = name.split(".", 1)
            moments.setdefault(int(index), {})[name] = tensor
        else:
            parts.setdefault(part, {})[name] = tensor
    model.load_state_dict(parts.pop("model"), strict=False)  # frozen parameters are loaded already
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    _restore_memory_format(optimizer)
    checkpoints = {
        int(part.removeprefix("checkpoint-")): weights
        for part, weights in parts.items()
        if part.startswith("checkpoint-")
    }
    return {
        **state,
        "weights": parts["weights"],
        "ema_weights": parts["ema_weights"],
        "checkpoints": checkpoints,
    }


def _restore_memory_format(optimizer: Optimizer) -> None:
    """Lay out each moment in memory like its parameter: fused kernels walk both as they lie there.

    A file holds tensors in the order of their dimensions, a network in channels_last does not.
    """
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def fingerprint(*parts: Any) -> str:
    """Return 16 digits that change with any of `parts`: params, data, code (files by their bytes)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


@contextmanager
def exclusive_trainer(task: str, fabric: "Fabric") -> Iterator[None]:
    """Lock the task: two trainers on one folder would overwrite each other's results.

    The operating system releases the lock when the trainer ends in any way. The first of Fabric's
    processes locks for all of them.

    Raises:
        UserError: another process has the lock.
    """
    if not fabric.is_global_zero:
        yield
        return
    RESUME.mkdir(parents=True, exist_ok=True)
    pid_file = RESUME / f"{task}.pid"
    lock = FileLock(RESUME / f"{task}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        pid = pid_file.read_text() if pid_file.exists() else "unknown"
        raise UserError(
            f"another trainer (process {pid}) is writing data/train/{task}; wait until it ends, or "
            f"stop it (kill {pid}), then run the same command again"
        ) from None
    try:
        pid_file.write_text(str(os.getpid()))
        yield
        pid_file.unlink(missing_ok=True)
    finally:
        lock.release()


def resume_folder(task: str, run_fingerprint: str) -> Path:
    """Return the folder of the resume states of runs with this fingerprint; make it if missing."""
    folder = RESUME / f"{task}-{run_fingerprint}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def delete_resume_states(task: str) -> None:
    """Delete the resume states of all runs of a task."""
    for folder in RESUME.glob(f"{task}-*"):
        shutil.rmtree(folder)
