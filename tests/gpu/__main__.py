"""Measure the project on a GPU: `PYTHONPATH=.:tests python -m gpu chains`."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from support.project import ROOT, TASKS

from gpu.report import RESULTS, record, write_page
from stages.core.errors import exit_on_user_error
from stages.core.runtime import pin_threads, torch_device
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
        with exit_on_user_error("gpu"):
            _measure(arguments, folder)


def _measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Run a part, and record its results as they come."""
    part, device, results = arguments.part, arguments.device, arguments.results.resolve()
    runtime = load_params(ROOT / "params.yaml").runtime
    pin_threads(runtime)  # before torch is imported
    torch_device(runtime.model_copy(update={"device": device}))  # nothing is recorded without it
    from gpu import chains, cifar, steps

    def save(result: dict[str, Any]) -> None:
        record(part, result, results)

    if part == "chains":
        devices = {device: arguments.runs, **({} if arguments.no_cpu else {"cpu": 1})}
        chains.measure_chains(arguments.tasks, devices, folder, save)
    elif part == "resume":
        rows = {task: chains.measure_resume(task, device, folder) for task in arguments.tasks}
        save({"machine": chains.gpu_record(), "tasks": rows})
    elif part == "steps":
        project = chains.copy_project(folder / "steps", {"device": device})
        for task in arguments.tasks:
            chains.run_chain(project, task, ("prepare",))
        save(steps.measure_tasks(project, arguments.tasks))
    elif part == "project":
        cifar.make_project(folder / "project", arguments.data.resolve(), device)
    else:
        package = arguments.airbench.resolve()
        cifar.compare(folder / "project", package, arguments.seeds, save)


if __name__ == "__main__":
    main()
