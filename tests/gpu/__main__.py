"""Measure the project on a GPU: `PYTHONPATH=.:tests python -m gpu chains`."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from support.project import ROOT, TASKS

from gpu.report import RESULTS, record, write_page
from stages.core.runtime import pin_threads
from stages.kinds.params import load_params


def main() -> None:
    """Run one part, and record its results."""
    parser = argparse.ArgumentParser(prog="python -m gpu", description=__doc__)
    parser.add_argument("part", choices=["chains", "resume", "steps", "project", "cifar", "page"])
    parser.add_argument("--device", default="cuda", help="as in runtime.device")
    parser.add_argument("--folder", type=Path, help="to work in (default: a temporary one)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the results")
    parser.add_argument(
        "--tasks", nargs="+", default=list(TASKS), help="chains, resume, steps: which"
    )
    parser.add_argument("--runs", type=int, default=2, help="chains: on the device, of each task")
    parser.add_argument("--no-cpu", action="store_true", help="chains: none on the CPU beside")
    parser.add_argument("--data", type=Path, help="project: CIFAR-10 as folders train and test")
    parser.add_argument("--airbench", type=Path, help="cifar: the folder that holds the package")
    parser.add_argument("--seeds", type=int, default=3, help="cifar: runs of each")
    arguments = parser.parse_args()
    if arguments.part == "page":
        write_page(arguments.results)
        return
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        name, result = _measure(arguments, folder)
    if result:
        record(name, result, arguments.results)


def _measure(arguments: argparse.Namespace, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the name and the result of a part."""
    pin_threads(load_params(ROOT / "params.yaml").runtime)  # before torch is imported
    from gpu import chains, cifar, steps

    part: str = arguments.part
    if part == "chains":
        devices = {arguments.device: arguments.runs, **({} if arguments.no_cpu else {"cpu": 1})}
        return part, chains.measure_chains(arguments.tasks, devices, folder)
    if part == "resume":
        rows = {
            task: chains.measure_resume(task, arguments.device, folder) for task in arguments.tasks
        }
        return part, {"machine": chains.gpu_record(), "tasks": rows}
    if part == "steps":
        project = chains.copy_project(folder / "steps", {"device": arguments.device})
        for task in arguments.tasks:
            chains.run_chain(project, task, ("prepare",))
        return part, steps.measure_tasks(project, arguments.tasks)
    project = folder / "project"
    if part == "project":
        cifar.make_project(project, arguments.data.resolve(), arguments.device)
        return part, {}
    package, results = arguments.airbench.resolve(), arguments.results.resolve()
    cifar.compare(project, package, arguments.seeds, lambda result: record(part, result, results))
    return part, {}


if __name__ == "__main__":
    main()
