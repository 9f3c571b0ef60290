"""A task: an entry under `tasks:` in params.yaml, with its params and its folders."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.core.schema import Runtime

STAGES = ("prepare", "check", "baseline", "train", "evaluate", "failures", "pack")
DATA = Path("data")
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
    """

    name: str
    kind: str
    params: Any
    runtime: "Runtime"

    def folder(self, stage: str) -> Path:
        """Return the folder of a stage's cached outputs: `data/train/image`."""
        return DATA / stage / self.name

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
