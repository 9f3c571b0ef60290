"""The stages of a task on a device: seconds, bytes, and the distance from the committed figures."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reliability.trials import Running, file_digests
from support.project import ROOT, change_params

from stages.core.files import read_json
from stages.core.machine import host_record
from stages.core.task import FOLDERS, STAGES
from stages.tools.scratch import failure_line, run_stage
from stages.tools.tolerance import COMPARED, Tolerance, flatten

# What a copy of the project lacks: what git and tools keep, and what the stages make.
_LEFT_OUT = (".git", ".venv", ".gpu", ".dvc", "tests", "*_cache", "__pycache__", ".hypothesis")
_MADE = ("data/resume", "data/params", "data/compare", *(f"data/{name}" for name in FOLDERS))
_ENDS = {"weights": ".safetensors", "tables": ".csv", "figures": ".json"}

Row = dict[str, Any]


def copy_project(folder: Path, runtime: Mapping[str, Any]) -> Path:
    """Copy the project as it stands, without what stages make, and set params of its runtime."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for made in _MADE:
        shutil.rmtree(folder / made, ignore_errors=True)
    change_params(folder, lambda params: params["runtime"].update(runtime))
    return folder


def run_chain(project: Path, task: str, stages: Sequence[str] = STAGES) -> Row:
    """Run stages of a task; return the seconds of each, and the line of the one that failed, if any."""
    seconds: dict[str, float] = {}
    for stage in stages:
        start = time.perf_counter()
        result = run_stage(project, stage, task)
        seconds[stage] = round(time.perf_counter() - start, 2)
        if result.returncode:
            (project / f"{stage}.log").write_text(result.stderr)
            return {"seconds": seconds, "problem": failure_line(stage, result)}
    return {"seconds": seconds, "problem": ""}


def outputs(project: Path, task: str) -> dict[str, str]:
    """Return the SHA-256 of each file that the stages of a task have made, by path.

    The evidence pack repeats them.
    """
    digests = {}
    for stage in STAGES[:-1]:
        folder = project / "data" / stage / task
        for path, digest in file_digests(folder).items() if folder.is_dir() else ():
            digests[f"{stage}/{path}"] = digest
    return digests


def same_bytes(first: Mapping[str, str], second: Mapping[str, str]) -> Row:
    """Return how many files two runs share, by type, and which differ."""
    paths = sorted(first.keys() | second.keys())
    different = [path for path in paths if first.get(path) != second.get(path)]
    return {
        "files": {name: sum(path.endswith(end) for path in paths) for name, end in _ENDS.items()},
        "all": len(paths),
        "different": different,
    }


def distances(task: str, committed: Any, rerun: Any, tolerance: Tolerance) -> Row:
    """Return how far metrics are from the committed ones, beside the measured tolerance.

    Args:
        task: by name.
        committed: metrics, nested.
        rerun: the same of a run elsewhere.
        tolerance: as committed.
    """
    differences = list(tolerance.differences(task, committed, rerun))
    compared = [key for key in flatten(committed) if key.startswith(COMPARED)]
    return {
        "compared": len(compared),
        "equal": len(compared) - sum(difference.key in compared for difference in differences),
        "tolerance_is_of_these": tolerance.belongs_to(task, committed),
        "metrics": [
            {
                "metric": difference.key,
                "committed": difference.committed,
                "here": difference.rerun,
                "tolerance": difference.tolerance,
                "outside": difference.is_outside,
            }
            for difference in differences
        ],
    }


def measure_device(task: str, device: str, folder: Path, runs: int) -> Row:
    """Run a task on a device several times, each in a copy of its own.

    Args:
        task: by name.
        device: as in `runtime.device`.
        folder: for the copies.
        runs: how many.
    """
    rows, digests = [], []
    for number in range(runs):
        project = copy_project(folder / f"{task}-{device}-{number}", {"device": device})
        rows.append(run_chain(project, task))
        digests.append(outputs(project, task))
    result: Row = {"runs": rows}
    if all(not row["problem"] for row in rows):
        committed = read_json(ROOT / "evidence" / task / "data" / "metrics.json")
        rerun = read_json(project / "data" / "evaluate" / task / "metrics.json")
        tolerance = Tolerance.read(ROOT / "evidence/tolerance.json")
        result["distances"] = distances(task, committed, rerun, tolerance)
        result["main"] = main_metric(committed, rerun)
    if runs > 1:
        result["bytes"] = same_bytes(*digests[-2:])
    return result


def main_metric(committed: Any, rerun: Any) -> Row:
    """Return the gain and its verdict, as committed and here."""
    return {
        name: {key: metrics["current"]["improvement"].get(key) for key in ("gain", "verdict")}
        for name, metrics in (("committed", committed), ("here", rerun))
    }


def measure_resume(task: str, device: str, folder: Path) -> Row:
    """Kill a task's training after its first epoch, run it again, and compare with an undisturbed one."""
    digests, killed = [], ""
    for name in ("killed", "undisturbed"):
        project = copy_project(folder / f"{task}-{name}", {"device": device})
        run_chain(project, task, STAGES[: STAGES.index("train")])
        if name == "killed":
            command = (sys.executable, "-m", "stages.train", task)
            training = Running(project, command, folder / "scratch")
            while not any(project.glob("data/resume/*/*.safetensors")):
                if training.process.poll() is not None:
                    return {"problem": training.finish()[1][-2000:]}
                time.sleep(0.01)
            killed = training.kill("group")
        row = run_chain(project, task, ("train",))
        if row["problem"]:
            return row
        digests.append(outputs(project, task))
    return {"problem": "", "killed": killed, "bytes": same_bytes(digests[0], digests[1])}


def gpu_record() -> Row:
    """Return what of a GPU and its libraries matters for figures."""
    import torch

    query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    card = ""
    if shutil.which(query[0]):
        card = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "card": card.split(", ")[0] or "none",
        "driver": card.split(", ")[-1] or "none",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "tf32 of convolutions": torch.backends.cudnn.allow_tf32,
        "tf32 of matrix products": torch.backends.cuda.matmul.allow_tf32,
        "pandas": version("pandas"),
        **host_record(),
    }


def measure_chains(
    tasks: Sequence[str], devices: Mapping[str, int], folder: Path, save: Callable[[Row], None]
) -> None:
    """Run tasks on devices side by side, the runs of a task on one device one after the other.

    Args:
        tasks: by name.
        devices: how many runs on each.
        folder: for the copies.
        save: called with the result so far, after each task on each device.
    """
    cases = [(task, device) for task in tasks for device in devices]
    result: Row = {
        "machine": gpu_record(),
        "side_by_side": len(cases),
        "tasks": {task: {} for task in tasks},
    }
    with ThreadPoolExecutor(len(cases)) as pool:
        running = {
            pool.submit(measure_device, task, device, folder, devices[device]): (task, device)
            for task, device in cases
        }
        for finished in as_completed(running):
            (task, device), row = running[finished], finished.result()
            print(task, device, *(r["problem"] or r["seconds"] for r in row["runs"]), flush=True)
            result["tasks"][task][device] = row
            save(result)
