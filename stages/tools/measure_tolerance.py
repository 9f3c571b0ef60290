"""Measure how far honest reruns of a task differ from its committed results.

Each task is rerun from HEAD in a scratch clone, once for each setting that the section `tolerance` of
params.yaml names: threads, instructions, devices, further training seeds. The result goes into
evidence/tolerance.json, which `evidence verify` and `make repro` read. This takes as long as training
each task again for each setting.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.jobs import site as job_site
from stages.tools.jobs.job import Job

if TYPE_CHECKING:
    from stages.core.schema import Runtime
    from stages.core.task import Task
    from stages.kinds.params import Params
    from stages.tools.jobs.site import Site

LEVEL = 0.99
RULE = (
    f"tolerance: the {LEVEL:.0%} prediction interval of the difference between two runs, t(runs) times "
    "the standard deviation over the committed result and the reruns times the square root of 2, at "
    "least the largest difference from the committed result; values: the words that came up; by_run: "
    "each rerun's value of the metrics that are compared, in the order of the settings: threads, "
    "instructions, devices, seeds"
)
STAGES = ("prepare", "check", "baseline", "train", "evaluate")
_SEED_STEP = 1000  # between the training seeds of two reruns


@dataclass(frozen=True)
class Setting:
    """A setting of a rerun: its name, and the params that differ."""

    name: str
    runtime: Mapping[str, Any]
    seed_shift: int = 0

    def apply(self, clone: Path, task: "Task") -> None:
        """Change the params of a clone."""
        from stages.core.params import read_yaml
        from stages.kinds.params import FILE

        params = read_yaml(clone / FILE)
        params["runtime"] |= self.runtime
        sections = params["tasks"][task.name]
        sections["train"]["seeds"] = [seed + self.seed_shift for seed in sections["train"]["seeds"]]
        if "threads" in self.runtime and task.params.train.threads:
            # They take the place of the runtime's.
            sections["train"]["threads"] = self.runtime["threads"]
        for key, path in task.input_paths().items():
            if not (clone / path).exists() and Path(path).exists():
                *names, last = key.split(".")
                reduce(getitem, names, sections)[last] = str(Path(path).resolve())
        (clone / FILE).write_text(json.dumps(params), encoding="utf-8")  # JSON is YAML

    def require_device(self, runtime: "Runtime") -> None:
        """Check that this machine has the device.

        Raises:
            UserError: it has not.
        """
        if "device" in self.runtime:
            from stages.core.runtime import torch_device

            torch_device(runtime.model_copy(update=dict(self.runtime)))


def settings(params: "Params", task: "Task") -> list[Setting]:
    """Return the settings that params name, without those that the task's model uses."""
    runtime = task.model_runtime
    threads = params.tolerance.threads
    values: dict[str, list[Any]] = {
        "threads": [*dict.fromkeys([*threads, params.runtime.threads])] if threads else [],
        "cpu": list(params.tolerance.cpu),
        "device": list(params.tolerance.device),
    }
    reruns = [
        Setting(f"runtime.{key}: {value}", {key: value})
        for key, alternatives in values.items()
        for value in alternatives
        if value != getattr(runtime, key)
    ]
    shifts = [_SEED_STEP * (number + 1) for number in range(params.tolerance.seeds)]
    return [*reruns, *(Setting(f"train.seeds + {shift}", {}, shift) for shift in shifts)]


def align_seeds(metrics: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
    """Return a rerun's metrics with the committed seeds in place of its own, by their order."""
    aligned = {**metrics, "primary_seed": seeds[0]}
    if "seeds" in metrics:
        rerun_seeds = sorted(metrics["seeds"], key=int)
        aligned["seeds"] = {
            str(seed): metrics["seeds"][rerun_seed]
            for seed, rerun_seed in zip(sorted(seeds), rerun_seeds, strict=True)
        }
    return aligned


def metric_tolerances(
    committed: Mapping[str, Any], reruns: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return by metric how far reruns differ, by `RULE`; metrics that some rerun lacks are left out.

    The prediction interval is that of the difference of two further values from a normal distribution
    (Geisser, 1993, section 2.2).

    Args:
        committed: the committed metrics by dotted key.
        reruns: the same of each rerun.
    """
    import numpy as np
    from scipy.stats import t

    from stages.tools.tolerance import COMPARED

    factor = float(t.ppf((1 + LEVEL) / 2, len(reruns))) * math.sqrt(2) if reruns else 0.0
    tolerances: dict[str, dict[str, Any]] = {}
    for key, value in committed.items():
        if not all(key in rerun for rerun in reruns):
            continue
        values = [value, *(rerun[key] for rerun in reruns)]
        if isinstance(value, bool | str):
            tolerances[key] = {"values": sorted(set(values), key=str)}
            continue
        deviation = float(np.std(values, ddof=1)) if reruns else 0.0
        largest = max(abs(rerun_value - value) for rerun_value in values)
        tolerances[key] = {
            "committed": value,
            "min": min(values),
            "max": max(values),
            "tolerance": max(factor * deviation, largest),
        }
        if key.startswith(COMPARED):
            tolerances[key]["by_run"] = values[1:]
    return tolerances


def measure(task: "Task", params: "Params", site: "Site", *, check_devices: bool) -> dict[str, Any]:
    """Rerun a task with each setting; return its entry in evidence/tolerance.json.

    Args:
        task: to rerun.
        params: of HEAD.
        site: where the reruns run.
        check_devices: whether settings with a device that this machine lacks are skipped.

    Raises:
        UserError: a stage fails, or the task has no committed results.
    """
    from stages.core.files import read_json
    from stages.core.repositories import read_blob
    from stages.tools.tolerance import flatten

    committed = flatten(json.loads(read_blob(Path(), "HEAD", f"{task.evidence}/data/metrics.json")))
    skipped: dict[str, str] = {}
    jobs: list[Job] = []
    for setting in settings(params, task):
        try:
            if check_devices:
                setting.require_device(params.runtime)
        except UserError as error:
            skipped[setting.name] = str(error)
            _log(task.name, f"{setting.name}: skipped: {error}")
            continue
        commands = [("python", "-m", f"stages.{stage}", task.name) for stage in STAGES]
        jobs.append(Job(setting.name, commands, partial(setting.apply, task=task)))
    seeds = list(task.params.train.seeds)
    seconds: dict[str, float] = {}
    reruns: dict[str, dict[str, Any]] = {}
    machines: list[Mapping[str, Any]] = []
    for ended in site.run(jobs):
        if ended.failure:
            raise UserError(f"{task.name}, {ended.name}: {ended.failure}")
        seconds[ended.name] = round(ended.seconds, 1)
        _log(task.name, f"{ended.name}: {seconds[ended.name]} s")
        metrics = read_json(ended.clone / task.folder("evaluate") / "metrics.json")
        reruns[ended.name] = flatten(align_seeds(metrics, seeds))
        machines.append(ended.machine)
    names = [job.name for job in jobs]
    return {
        "runs": {name: seconds[name] for name in names},
        "skipped": skipped,
        "metrics": metric_tolerances(committed, [reruns[name] for name in names]),
        "machine": merge_machines(machines),
    }


def merge_machines(machines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the record of the machines on which reruns ran; of what differs between them, a list."""
    merged = {}
    for key in machines[0] if machines else ():
        values = [*dict.fromkeys(machine[key] for machine in machines)]
        merged[key] = values[0] if len(values) == 1 else values
    return merged


def _log(task: str, line: str) -> None:
    print(f"tolerance@{task}: {line}", file=sys.stderr)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("task", nargs="*", help="tasks of params.yaml (default: all)")
    job_site.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure the tolerance of each task named, and write it."""
    from stages.core.files import read_json, to_json, write
    from stages.core.params import parse_yaml
    from stages.core.repositories import git, read_blob
    from stages.kinds.params import FILE, check_params, load_tasks, select_task
    from stages.tools.tolerance import FILE as TOLERANCE

    commit = git(Path(), "rev-parse", "HEAD")
    params = check_params(parse_yaml(read_blob(Path(), commit, FILE.as_posix()).decode()))
    tasks = load_tasks(params)
    selected = [select_task(tasks, name) for name in arguments.task or tasks]
    content = read_json(TOLERANCE) if TOLERANCE.exists() else {"tasks": {}}
    # A job may have a GPU where this machine has none.
    has_gpus = bool(arguments.on == "slurm" and params.cluster and params.cluster.gpus)
    for task in selected:
        with job_site.open_site(arguments.on, f"tolerance {task.name}", params, [task]) as site:
            entry = measure(task, params, site, check_devices=not has_gpus)
        content["tasks"][task.name] = {**entry, "revision": commit}
        write(TOLERANCE, to_json({**content, "rule": RULE}))
