"""The record of the machine: its properties, and which results were computed on it.

evidence/machine.json is no output of a stage and is shown on no page, so a reproduction elsewhere with
the same results changes no file in git.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from stages.core.files import to_json, write

if TYPE_CHECKING:
    from stages.core.schema import Runtime

FILE = Path("evidence/machine.json")
_LOCK = Path("data/resume/machine.lock")  # a folder that git ignores
_CPU_INFO = Path("/proc/cpuinfo")


def _cpu_info() -> dict[str, str]:
    """Return what Linux says of the first core; nothing on other systems."""
    try:
        core = _CPU_INFO.read_text(encoding="utf-8").strip().split("\n\n")[0]
    except OSError:
        return {}
    entries = (line.partition(":") for line in core.split("\n"))
    return {key.strip(): value.strip() for key, _, value in entries}


def _processor(info: Mapping[str, str]) -> str:
    if "model name" not in info:
        return platform.processor() or platform.machine()
    # Virtual machines report one model name for a whole series of processors.
    parts = [f"{key} {info[key]}" for key in ("cpu family", "model", "stepping") if key in info]
    return f"{info['model name']} ({', '.join(parts)})" if parts else info["model name"]


def _newest_instructions(info: Mapping[str, str]) -> str:
    if "flags" not in info:
        return "unknown"
    flags = info["flags"].split()
    return next((name for name in ("avx512f", "avx2", "avx") if name in flags), "older than avx")


def host_record() -> dict[str, Any]:
    """Return processor, system and library versions of this machine."""
    libraries = ("torch", "torchvision", "numpy", "scikit-learn", "lightning-fabric", "dvc")
    info = _cpu_info()
    return {
        "processor": _processor(info),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "processor_instructions": _newest_instructions(info),  # of those that matter here
        **{name: version(name) for name in libraries},
    }


def machine_record(runtime: "Runtime") -> dict[str, Any]:
    """Return the properties of this machine, and how `runtime` uses it."""
    return {
        **host_record(),
        "instructions": runtime.cpu,
        "threads": runtime.threads,
        "device": _device_name(runtime),
        "devices": runtime.devices,
        "precision": runtime.precision,
        # Absent for one process, so that records of before stay equal.
        **({"world_size": runtime.processes} if runtime.processes > 1 else {}),
    }


def _device_name(runtime: "Runtime") -> str:
    if runtime.device == "cpu":
        return "cpu"
    from stages.core.runtime import device_name, torch_device  # torch, only where a GPU may be used

    return device_name(torch_device(runtime))


def results_digest(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of a pack's results: of its files below `data/`, by name and content.

    Pages and pictures are left out: another wording is no other result.

    Args:
        files: of the pack, by their path in the evidence folder.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        if name.startswith("data/"):
            for part in (name.encode(), content):
                digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def record_machine(task: str, digest: str, machine: Mapping[str, Any]) -> None:
    """Record the machine on which a task's results were computed, if the results are new.

    Args:
        task: by name.
        digest: of the task's results, by `results_digest`.
        machine: by `machine_record`.
    """
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_LOCK):  # packs of several tasks may be written at the same time
        records = read_machines(FILE)
        if records.get(task, {}).get("results_sha256") != digest:
            records[task] = {"results_sha256": digest, "machine": dict(machine)}
            write(FILE, to_json(records))


def read_machines(path: Path = FILE) -> dict[str, dict[str, Any]]:
    """Return the records by task; none where the file is missing, and no damaged ones."""
    try:
        records = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, RecursionError, TypeError, ValueError):
        return {}
    return {
        str(task): record
        for task, record in records.items()
        if isinstance(record, dict) and isinstance(record.get("machine"), dict)
    }
