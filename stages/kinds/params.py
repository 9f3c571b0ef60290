"""params.yaml as a whole: runtime, tolerance runs, cluster, and the tasks, each checked by its kind."""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from stages.core.errors import UserError
from stages.core.params import read_yaml, validate
from stages.core.schema import Count, Name, Positive, Runtime, Section, TaskSections, ToleranceRuns
from stages.core.task import Task
from stages.kinds.registry import KINDS

FILE = Path("params.yaml")
TASK_NAME = r"^[a-z][a-z0-9_]{0,39}$"
RESERVED_NAMES = {"reproductions"}  # folders of evidence/ that no task writes

TaskName = Annotated[str, Field(pattern=TASK_NAME)]
if TYPE_CHECKING:
    TaskParams = TaskSections
else:
    TaskParams = reduce(or_, (kind.schema for kind in KINDS.values()))


class Cluster(Section):
    """What `--on slurm` and `--on local` ask for, for each job; no stage reads it."""

    partition: Name | None
    account: Name | None
    minutes: Count
    memory_gb: Positive
    cores: Count
    gpus: Annotated[int, Field(ge=0)]
    restarts: Annotated[int, Field(ge=0, le=100)]


class Params(Section):
    """All of params.yaml."""

    runtime: Runtime
    tolerance: ToleranceRuns
    cluster: Cluster | None = None
    tasks: Annotated[
        dict[TaskName, Annotated[TaskParams, Field(discriminator="kind")]], Field(min_length=1)
    ]

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        for name in RESERVED_NAMES & self.tasks.keys():
            raise ValueError(f"tasks.{name}: evidence/{name} is no task's; give it another name")
        return self

    @model_validator(mode="after")
    def _batches_divide_among_processes(self) -> Self:
        processes = self.runtime.processes
        key = "devices" if self.runtime.nodes == 1 else "devices times runtime.nodes"
        params: Any
        for name, params in self.tasks.items():
            size = params.train.batch_size
            if size % processes or size < 2 * processes:
                raise ValueError(
                    f"tasks.{name}.train.batch_size (given {size}) must be a multiple of "
                    f"runtime.{key} (given {processes}), and at least twice that"
                )
        return self


def load_params(path: Path = FILE) -> Params:
    """Return the checked params.

    Raises:
        UserError: the file is missing, is not YAML, or does not fit the schema.
    """
    return check_params(read_yaml(path), path)


def check_params(values: Any, path: Path = FILE) -> Params:
    """Return the checked params of `values`, as read from `path`.

    Raises:
        UserError: they do not fit the schema.
    """
    return validate(Params, values, path)


def load_tasks(params: Params | None = None) -> dict[str, Task]:
    """Return the tasks by name, in the order of params.yaml."""
    params = params or load_params()
    return {
        name: Task(name, section.kind, section, params.runtime)
        for name, section in params.tasks.items()
    }


def select_task(tasks: Mapping[str, Task], name: str) -> Task:
    """Return the task called `name`.

    Raises:
        UserError: params.yaml has no such task.
    """
    if name not in tasks:
        raise UserError(f"given task {name!r}; must be one of {', '.join(tasks)} ({FILE})")
    return tasks[name]
