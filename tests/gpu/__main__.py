"""Measure the project on a GPU: `PYTHONPATH=.:tests python -m gpu chains`."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from support.project import TASKS

from gpu.report import RESULTS, record, write_page


def main() -> None:
    """Run one part, and record its results."""
    parser = argparse.ArgumentParser(prog="python -m gpu", description=__doc__)
    parser.add_argument(
        "part", choices=["chains", "steps", "project", "candidate", "cifar", "page"]
    )
    parser.add_argument("--device", default="cuda", help="as in runtime.device")
    parser.add_argument("--folder", type=Path, help="to work in (default: a temporary one)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the results")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="chains, steps: which")
    parser.add_argument("--runs", type=int, default=2, help="chains: on the device, of each task")
    parser.add_argument("--no-cpu", action="store_true", help="chains: none on the CPU beside")
    parser.add_argument("--data", type=Path, help="project: CIFAR-10 as folders train and test")
    parser.add_argument("--candidate", default="proposal", help="candidate, cifar: by name")
    parser.add_argument("--airbench", type=Path, help="cifar: the folder that holds the package")
    parser.add_argument("--seeds", type=int, default=3, help="cifar: runs of each")
    parser.add_argument("--precision", default="32-true", help="cifar: as in runtime.precision")
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
    from gpu import chains, cifar, steps

    part: str = arguments.part
    if part == "chains":
        devices = {arguments.device: arguments.runs, **({} if arguments.no_cpu else {"cpu": 1})}
        return part, chains.measure_chains(arguments.tasks, devices, folder)
    if part == "steps":
        project = chains.copy_project(folder / "steps", {"device": arguments.device})
        for task in arguments.tasks:
            chains.run_chain(project, task, ("prepare",))
        return part, steps.measure_tasks(project, arguments.tasks)
    project = folder / "project"
    if part == "project":
        cifar.make_project(project, arguments.data.resolve(), arguments.device)
        return part, {}
    if part == "candidate":
        name = f"candidate-{list(cifar.CANDIDATES).index(arguments.candidate)}"
        return name, cifar.train_candidate(project, arguments.candidate)
    return part, cifar.compare(
        project,
        arguments.airbench.resolve(),
        arguments.candidate,
        arguments.seeds,
        arguments.precision,
    )


if __name__ == "__main__":
    main()
