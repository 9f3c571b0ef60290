"""What a commit says about a task: its params, its evidence, and who holds its raw data."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from stages.core.errors import UserError
from stages.tools.archive.cached import Output, in_git, locked_stages
from stages.tools.archive.revision import Revision

PARAMS = "params.yaml"
MACHINES = "evidence/machine.json"
_SOURCES_OF_FILES = ("folder", "csv", "reviews")  # others draw, download or import their samples
_UNTRACKED_WEIGHTS = "initial_weights"


class Holder(StrEnum):
    """Who holds the raw data of a task."""

    GIT = "git"
    DVC = "DVC"
    SOURCE = "its source"  # a library, a download, or code that draws the samples
    OUTSIDE = "a place outside the repository"

    @property
    def in_archive(self) -> bool:
        """Return whether an archive with data can hold the raw files themselves."""
        return self in {Holder.GIT, Holder.DVC}


@dataclass(frozen=True)
class TaskEvidence:
    """A task as a commit describes it; what the commit lacks is empty.

    Attributes:
        name: the key under `tasks:`.
        params: its section of params.yaml.
        runtime: the section `runtime` of params.yaml.
        record: evidence/<task>/record.json.
        note: the dataset note.
        metrics: data/metrics.json of its pack.
        baseline: data/baseline.json of its pack.
        checks: data/checks.json of its pack.
        checkpoints: data/checkpoints.json of its pack.
        machine: on which its results were computed.
        holder: who holds its raw data.
        raw_path: where they are, as params.yaml names it.
        raw_outputs: what DVC tracks of them.
    """

    name: str
    params: Mapping[str, Any]
    runtime: Mapping[str, Any]
    record: Mapping[str, Any]
    note: Mapping[str, Any]
    metrics: Mapping[str, Any]
    baseline: Mapping[str, Any]
    checks: Sequence[Mapping[str, Any]]
    checkpoints: Mapping[str, Any]
    machine: Mapping[str, Any]
    holder: Holder
    raw_path: str
    raw_outputs: Sequence[Output]

    @property
    def kind(self) -> str:
        """Return the kind of the task, in words."""
        return str(self.params.get("kind", "unknown kind")).replace("_", " ")

    @property
    def prepare(self) -> Mapping[str, Any]:
        """Return the params of the stage prepare."""
        return _mapping(self.params.get("prepare"))

    def outside_weights(self, revision: Revision) -> list[str]:
        """Return the files of initial weights that params.yaml names and git does not hold."""
        return [
            str(value)
            for section in (self.params.get("train"), self.params.get("baseline"))
            for value in _values(section, _UNTRACKED_WEIGHTS)
            if value not in {None, "imagenet"} and str(value) not in revision.files
        ]


def read_tasks(revision: Revision, tracked: Sequence[Output]) -> list[TaskEvidence]:
    """Return the tasks that a commit has trained and reported, in the order of their names."""
    params = revision.yaml(PARAMS)
    sections = _mapping(params.get("tasks"))
    stages = locked_stages(revision)
    names = sorted(
        path.split("/")[1]
        for path in revision.files
        if path.startswith("evidence/") and path.endswith("/record.json") and path.count("/") == 2  # noqa: PLR2004 (evidence/<task>/record.json)
    )
    for name in names:
        if name in sections and f"train@{name}" not in stages:
            raise UserError(f"dvc.lock has no train@{name}; run `dvc repro` and commit dvc.lock")
    return [
        _read_task(
            revision, name, _mapping(sections[name]), _mapping(params.get("runtime")), tracked
        )
        for name in names
        if name in sections
    ]


def _read_task(
    revision: Revision,
    name: str,
    params: Mapping[str, Any],
    runtime: Mapping[str, Any],
    tracked: Sequence[Output],
) -> TaskEvidence:
    data = f"evidence/{name}/data"
    prepare = _mapping(params.get("prepare"))
    path = posixpath.normpath(str(prepare.get("path") or ""))
    outputs = [output for output in tracked if _overlap(path, output.path)]
    checks = revision.json(f"{data}/checks.json")
    machines = _mapping(revision.json(MACHINES))
    return TaskEvidence(
        name=name,
        params=params,
        runtime=runtime,
        record=_mapping(revision.json(f"evidence/{name}/record.json")),
        note=_mapping(revision.json(f"{data}/dataset_note.json")),
        metrics=_mapping(revision.json(f"{data}/metrics.json")),
        baseline=_mapping(revision.json(f"{data}/baseline.json")),
        checks=checks if isinstance(checks, list) else [],
        checkpoints=_mapping(revision.json(f"{data}/checkpoints.json")),
        machine=_mapping(_mapping(machines.get(name)).get("machine")),
        holder=_holder(revision, prepare, path, outputs),
        raw_path=path,
        raw_outputs=outputs,
    )


def _holder(
    revision: Revision, prepare: Mapping[str, Any], path: str, outputs: Sequence[Output]
) -> Holder:
    if prepare.get("source") not in _SOURCES_OF_FILES:
        return Holder.SOURCE
    if outputs:
        return Holder.DVC
    return Holder.GIT if in_git(revision, path) else Holder.OUTSIDE


def raw_files(revision: Revision, task: TaskEvidence) -> list[str]:
    """Return the files in git at the path of a task's raw data."""
    folder = f"{task.raw_path}/"
    return sorted(name for name in revision.files if f"{name}/".startswith(folder))


def _overlap(path: str, place: str) -> bool:
    """Return whether two paths are the same, or one is a folder that contains the other."""
    return f"{path}/".startswith(f"{place}/") or f"{place}/".startswith(f"{path}/")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _values(section: Any, key: str) -> list[Any]:
    """Return the values of a key, wherever it is in a section."""
    if not isinstance(section, dict):
        return []
    nested = [value for item in section.values() for value in _values(item, key)]
    return [*([section[key]] if key in section else []), *nested]
