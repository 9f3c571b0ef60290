"""A task: an entry under `tasks:` in params.yaml, with its params, its folders and its folds."""

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from stages.core.schema import Runtime

STAGES = ("prepare", "check", "baseline", "train", "evaluate", "failures", "pack")
DATA = Path("data")
RESUME = DATA / "resume"  # what is left of interrupted stages; git ignores it, DVC does not know it
LIVE = "live"  # the loss of each training run, written while the stage train trains
FOLDERS = (*STAGES, LIVE)  # below `DATA`, each with a folder for each task
_FITTED = ("baseline", "train", LIVE)  # those of what is fitted once in each fold
# Params that may name a file or folder which no stage writes.
_INPUTS = (
    "prepare.path",
    "train.initial_weights",
    "baseline.frozen_features.initial_weights",
)


@dataclass(frozen=True)
class Task:
    """A task, with the params that drive it.

    Attributes:
        name: its key under `tasks:`.
        kind: the package in stages/kinds that implements it.
        params: its checked params, of the kind's schema.
        runtime: how the machine is used.
        fold: which fold of the task this is; None: the whole task.
    """

    name: str
    kind: str
    params: Any
    runtime: "Runtime"
    fold: int | None = None

    def folds(self) -> list[Self]:
        """Return the task for each fold of its data; without folds, the task itself.

        A fold's stages read the whole task's prepared data, of which `read_dataset` gives its split, and
        fit their models in folders of their own.
        """
        count = self.params.prepare.split.folds
        if self.fold is not None or count == 1:
            return [self]
        return [replace(self, fold=fold) for fold in range(count)]

    def run_name(self, seed: int) -> str:
        """Return the name of the training run of one seed."""
        return run_name(seed, self.fold)

    @property
    def model_runtime(self) -> "Runtime":
        """Return how the task's model uses the machine: with `train.threads`, if the task sets it."""
        threads = self.params.train.threads or self.runtime.threads
        return self.runtime.model_copy(update={"threads": threads})

    def folder(self, stage: str) -> Path:
        """Return a folder of cached outputs: `data/train/image`.

        What a fold fits is in a folder below it: `data/train/image/fold-2`.
        """
        folder = DATA / stage / self.name
        return folder if self.fold is None or stage not in _FITTED else folder / f"fold-{self.fold}"

    def resume_folder(self, stage: str) -> Path:
        """Return where a stage keeps what it has finished until it ends: `data/resume/prepare/image`."""
        return RESUME / stage / self.name

    @property
    def evidence(self) -> Path:
        """Return the folder of the evidence pack, which is in git."""
        return Path("evidence") / self.name

    def input_paths(self) -> dict[str, str]:
        """Return the files and folders that the params name and no stage writes, by key: `prepare.path`.

        A name that is no path, such as `imagenet`, is among them: no such file exists.
        """
        paths = {}
        for key in _INPUTS:
            value = self.params
            for name in key.split("."):
                value = getattr(value, name, None)
            if value is not None:
                paths[key] = value
        return paths

    def key(self, path: str) -> str:
        """Return the full key of a param: `tasks.image.train.epochs` for `train.epochs`."""
        return f"tasks.{self.name}.{path}"

    def module(self, name: str) -> ModuleType:
        """Return a module of the kind's package: `train`, `model`, `predict`."""
        return import_module(f"stages.kinds.{self.kind}.{name}")


def run_name(seed: int, fold: int | None) -> str:
    """Return the name of a training run: "seed 0", or "fold 2, seed 0"."""
    return f"seed {seed}" if fold is None else f"fold {fold}, seed {seed}"
