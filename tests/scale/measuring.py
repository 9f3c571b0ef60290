"""Stages over folders of many images: seconds, and the memory of all their processes."""

import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from gpu.chains import copy_project
from support.project import change_params, environment

from stages.core.files import read_json

TASK = "photographs"
STAGES = ("prepare", "check")
_PAUSE = 0.25  # seconds between two looks at the memory
_PREPARE = {
    "source": "folder",
    "layout": "classes",
    "size": 32,
    "channels": 3,
    "near_duplicate": 0.02,
    "split": {"test": 0.1, "validation": 0.1, "seed": 0},
}


def make_project(folder: Path, images: Path) -> Path:
    """Copy the project, with one task: these images."""
    shutil.rmtree(folder, ignore_errors=True)
    project = copy_project(folder, {})

    def only_images(params: dict[str, Any]) -> None:
        task = params["tasks"]["image"]
        task["prepare"].update(_PREPARE, path=str(images))
        params["tasks"] = {TASK: task}

    change_params(project, only_images)
    return project


def measure(project: Path) -> dict[str, Any]:
    """Run the stages; return seconds and gigabytes of each, and what prepare has counted."""
    rows = {stage: _measure_stage(project, stage) for stage in STAGES}
    note = read_json(project / "data/prepare" / TASK / "dataset.json")
    array = project / "data/prepare" / TASK / "images.npy"
    return {
        "stages": rows,
        "samples": sum(note["counts"].values()),
        "pairs": note["near_duplicates"]["pairs"],
        "threshold": _PREPARE["near_duplicate"],
        "exact_duplicates": note["exact_duplicates"],
        "array_gb": array.stat().st_size / 1e9,
    }


def _measure_stage(project: Path, stage: str) -> dict[str, float]:
    command = [sys.executable, "-m", f"stages.{stage}", TASK]
    start, processor = time.perf_counter(), _processor_seconds()
    with subprocess.Popen(command, cwd=project, env=environment()) as process:
        peak = Peak(process.pid)
        status = process.wait()
        peak.stop()
    if status:
        raise RuntimeError(f"{stage}: exit status {status}")
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": _processor_seconds() - processor,
        "load": os.getloadavg()[2],  # of the last 15 minutes
        **peak.gigabytes,
    }


def _processor_seconds() -> float:
    """Return the processor time of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Peak:
    """The greatest memory of a process and its children, looked at several times a second.

    Attributes:
        gigabytes: private: PSS without the pages of files, of all processes together, so that pages which
            they share count once; mapped: with those pages, which the system takes back when needed.
    """

    def __init__(self, pid: int) -> None:
        self.gigabytes = {"private": 0.0, "mapped": 0.0}
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End looking."""
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ended.wait(_PAUSE):
            try:
                processes = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            sums = [memory(process.pid) for process in processes]
            for name, values in zip(self.gigabytes, zip(*sums, strict=True), strict=True):
                self.gigabytes[name] = max(self.gigabytes[name], sum(values) / 1e9)


def memory(pid: int) -> tuple[int, int]:
    """Return the bytes of a process: its share of memory that is no file's, and of all that is mapped."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0, 0
    sizes = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines[1:])
    }
    return sizes["Pss_Anon"] + sizes["Pss_Shmem"], sizes["Pss"]
