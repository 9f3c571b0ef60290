"""A task at a stage: its params, its folders, its cell of the grid; and the way into a stage."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from stages.params import load
from stages.shared import runtime as machine_room
from stages.shared.refusal import refusing
from stages.shared.schema import Params, Runtime

STAGES = ("prepare", "check", "baseline", "train", "evaluate", "failures", "pack")
DATA = Path("data")


@dataclass(frozen=True)
class Task:
    """One row of the grid, with the params that drive it."""

    name: str
    params: Any
    runtime: Runtime

    def folder(self, stage: str) -> Path:
        """Return where `stage` puts what DVC caches: `data/train/image`."""
        return DATA / stage / self.name

    @property
    def evidence(self) -> Path:
        """Return the folder of the evidence pack, which is in git."""
        return Path("evidence") / self.name

    @property
    def plots(self) -> Path:
        """Return the folder of the files that `dvc plots` draws, which is in git."""
        return Path("plots") / self.name

    def cell(self, stage: str) -> ModuleType:
        """Return the module in which this task does `stage`."""
        return import_module(f"stages.tasks.{self.name}.{stage}")


def tasks(params: Params) -> dict[str, Task]:
    """Return every task that the params name, in their order."""
    return {name: Task(name, getattr(params, name), params.runtime) for name in params.tasks()}


def enter(stage: str, run: Callable[[Task], None]) -> None:
    """Run one stage for the task named on the command line: `python -m stages.train image`.

    All of params.yaml is checked first, before any output is touched.
    """
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}", description=_purpose())
    parser.add_argument("task", choices=Params.tasks())
    name = parser.parse_args().task
    with refusing(f"{stage}@{name}"):
        params = load()
        machine_room.hold(params.runtime)
        run(tasks(params)[name])


def _purpose() -> str:
    return (sys.modules["__main__"].__doc__ or "").strip().split("\n")[0]
