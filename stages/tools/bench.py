"""Measure results over further splits and training seeds, and how long everything takes.

Prints Markdown. Everything runs the committed code (HEAD) in scratch clones; the work tree is not
touched. Times are medians over repetitions, and hold for the machine that the report names.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.core.processes import last_line, run_command, scratch_folder
from stages.core.repositories import git
from stages.core.task import STAGES
from stages.tools import scratch
from stages.tools.jobs import site as job_site
from stages.tools.repeats import results, run_repeats

if TYPE_CHECKING:
    from stages.core.task import Task

# Goals in seconds on two cores: of `dvc repro pack@<task>` from nothing by kind (with params like those of
# the tasks that ship), of `evidence repro` of all tasks from nothing and with nothing to do, and of the
# cheap tiers of verify; and the goal for the tier `retrain` as a share of `evidence repro` from nothing.
TASK_GOALS = {"image_classification": 60, "text_classification": 150, "image_generation": 100}
GOAL_FROM_NOTHING, GOAL_NOTHING_TO_DO, GOAL_CHEAP_TIERS = 150, 1.3, 15
GOAL_RETRAIN = 1.0
_SIMULATED_JOBS = (2, 4, 8)
_FEWEST_REPEATS = 2  # for a spread

# Runs a command, then prints the peak memory of the largest of its processes; macOS counts in bytes.
_PEAK = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "unit = 2**20 if sys.platform == 'darwin' else 2**10; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // unit); sys.exit(code)"
)


def run_timed(clone: Path, *command: str) -> tuple[float, str]:
    """Run a command in a scratch clone; return its seconds and its output.

    Raises:
        UserError: it fails.
    """
    start = time.perf_counter()
    result = run_command(clone, *command)
    seconds = time.perf_counter() - start
    if result.returncode:
        line = last_line(result.stderr) or last_line(result.stdout)
        raise UserError(f"{' '.join(command)} failed in the scratch clone: {line}")
    return seconds, result.stdout


@contextmanager
def _clone(tasks: Sequence["Task"]) -> Iterator[Path]:
    with scratch_folder() as folder:
        clone = scratch.clone_head(folder / "clone")
        for task in tasks:
            scratch.link_local_inputs(clone, task)
        yield clone


def pipeline_times(tasks: Sequence["Task"], repetitions: int) -> str:
    """Return the times of all tasks, side by side and one stage at a time, and of verify, in Markdown."""
    from stages.report.formatting import markdown_table
    from stages.tools.repro.up_to_date import SETTLING_SECONDS

    from_nothing, serial, first_check, nothing_to_do, cheap_tiers, shares = [], [], [], [], [], []
    repro = ("python", "-m", "stages.tools", "repro")
    verify = ("python", "-m", "stages.tools", "verify", "--json", "verify.json")
    for _ in range(repetitions):
        with _clone(tasks) as clone:
            serial.append(run_timed(clone, "dvc", "repro", "--quiet")[0])
        with _clone(tasks) as clone:
            from_nothing.append(run_timed(clone, *repro)[0])
            time.sleep(SETTLING_SECONDS)
            first_check.append(run_timed(clone, *repro)[0])
            nothing_to_do += [run_timed(clone, *repro)[0] for _ in range(3)]
            cheap_tiers += [run_timed(clone, *verify, "--tier", "metrics")[0] for _ in range(3)]
            run_timed(clone, *verify)
            report = read_json(clone / "verify.json")
            seconds = {tier["tier"]: tier["seconds"] for tier in report["tiers"]}
            shares.append(seconds["retrain"] / from_nothing[-1])
            simulated = _simulated_shares(clone)
    rows = [
        _timing("`evidence repro` from nothing", from_nothing, GOAL_FROM_NOTHING),
        _timing("`dvc repro` from nothing, one stage at a time", serial, None),
        _timing(
            "`evidence repro` with nothing to do, after a run", first_check, GOAL_NOTHING_TO_DO
        ),
        _timing("`evidence repro` with nothing to do, again", nothing_to_do, GOAL_NOTHING_TO_DO),
        _timing("verify, tiers hashes and metrics", cheap_tiers, GOAL_CHEAP_TIERS),
        _timing("verify, tier retrain, as a share of `evidence repro`", shares, GOAL_RETRAIN),
    ]
    tiers = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    shares_by_jobs = ", ".join(f"{share:.2f} with {jobs}" for jobs, share in simulated.items())
    return (
        f"{markdown_table(_TIMING_HEADER, rows)}\n\nSeconds, except for the share. The last verify, by "
        f"tier: {tiers}; {report['line']}. Simulated with the stages' seconds of the last run, as a share "
        f"of their sum: {shares_by_jobs} cores."
    )


def _simulated_shares(clone: Path) -> dict[int, float]:
    """Return by number of cores what share of the sum of all stages' seconds the pipeline would take."""
    from stages.core.params import read_yaml
    from stages.tools.repro.queue import makespan
    from stages.tools.repro.seconds import FILE

    dependencies = lock_dependencies(read_yaml(clone / "dvc.lock"))
    seconds = read_json(clone / FILE)
    total = sum(seconds.values())
    return {jobs: makespan(dependencies, seconds, jobs) / total for jobs in _SIMULATED_JOBS}


def lock_dependencies(lock: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return which stages of a dvc.lock need which others.

    Args:
        lock: its content.
    """
    makers = {
        Path(out["path"]): name
        for name, entry in lock["stages"].items()
        for out in entry.get("outs", [])
    }
    return {
        name: {
            maker
            for dep in entry.get("deps", [])
            for path, maker in makers.items()
            if Path(dep["path"]).is_relative_to(path) or path.is_relative_to(dep["path"])
        }
        - {name}
        for name, entry in lock["stages"].items()
    }


_TIMING_HEADER = ["command", "median", "goal", "n"]


def _timing(command: str, values: Sequence[float], goal: float | None) -> list[Any]:
    return [command, f"{median(values):.2f}", f"at most {goal}" if goal else "none", len(values)]


def task_times(task: "Task", repetitions: int) -> str:
    """Return the times of one task from nothing, and of each of its stages, in Markdown."""
    from stages.report.formatting import markdown_table

    times, peaks = [], []
    for _ in range(repetitions):
        with _clone([task]) as clone:
            repro = ("dvc", "repro", "--quiet", f"pack@{task.name}")
            seconds, output = run_timed(clone, "python", "-c", _PEAK, *repro)
            times.append(seconds)
            peaks.append(int(last_line(output)))
    goal = TASK_GOALS.get(task.kind)
    rows = [_timing(f"`dvc repro pack@{task.name}` from nothing", times, goal)]
    imports, totals = {}, {}
    with _clone([task]) as clone:
        for stage in STAGES:
            statement = f"import stages.{stage}, stages.kinds.{task.kind}.{stage}"
            imports[stage], _ = run_timed(clone, "python", "-c", statement)
            totals[stage], _ = run_timed(clone, "python", "-m", f"stages.{stage}", task.name)
    stage_rows = [[stage, f"{imports[stage]:.1f}", f"{totals[stage]:.1f}"] for stage in STAGES]
    sums = sum(imports.values()), sum(totals.values())
    stage_rows.append(["sum", *(f"{value:.1f}" for value in sums)])
    return (
        f"{markdown_table(_TIMING_HEADER, rows)}\n\n"
        f"{markdown_table(['stage', 'imports, s', 'total, s'], stage_rows)}\n\n"
        f"Largest memory of a process: {max(peaks)} MB. Imports: {sums[0] / sums[1]:.0%} of the total."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("--task", metavar="NAME", help="measure one task only")
    parser.add_argument(
        "--pipeline", action="store_true", help="measure only the times of all tasks together"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        help="pairs of a split and a training seed, 2 or more (default: by kind)",
    )
    parser.add_argument(
        "--repetitions", type=int, default=3, help="of each time from nothing (default: 3)"
    )
    job_site.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the report.

    Raises:
        UserError: an argument is not allowed, or a command fails in a scratch clone.
    """
    from stages.core.machine import machine_record
    from stages.kinds.params import load_params, load_tasks, select_task
    from stages.kinds.registry import KINDS

    _check_numbers(arguments.repeats, arguments.repetitions)
    if arguments.pipeline and (arguments.task or arguments.on):
        raise UserError(f"give either {'--task' if arguments.task else '--on'} or --pipeline")
    params = load_params()
    tasks = load_tasks(params)
    selected = [select_task(tasks, arguments.task)] if arguments.task else list(tasks.values())
    machine = ", ".join(f"{key} {value}" for key, value in machine_record(params.runtime).items())
    commit = git(Path(), "rev-parse", "--short", "HEAD")
    repeats = {
        task.name: arguments.repeats or KINDS[task.kind].bench.repeats
        for task in ([] if arguments.pipeline else selected)
    }
    command = f"bench {' '.join(f'{name}={count}' for name, count in repeats.items())}"
    with job_site.open_site(arguments.on, command, params, selected) as site:
        metrics = run_repeats([tasks[name] for name in repeats], repeats, site)
    print(f"# Bench\n\n`evidence bench` at commit {commit}. {machine}.", flush=True)
    if not arguments.task and not arguments.on:
        times = pipeline_times(selected, arguments.repetitions)
        print(f"\n## All tasks: time\n\n{times}", flush=True)
    for task in [tasks[name] for name in repeats]:
        table = results(task, KINDS[task.kind].bench, metrics[task.name])
        print(f"\n## {task.name}: splits and training seeds\n\n{table}", flush=True)
        if not arguments.on:
            times = task_times(task, arguments.repetitions)
            print(f"\n## {task.name}: time\n\n{times}", flush=True)
    if arguments.on:
        print("\nTimes are those of one machine: `evidence bench` without `--on` measures them.")


def _check_numbers(repeats: int | None, repetitions: int) -> None:
    if repeats is not None and repeats < _FEWEST_REPEATS:
        raise UserError(f"--repeats: given {repeats}; must be at least {_FEWEST_REPEATS}")
    if repetitions < 1:
        raise UserError(f"--repetitions: given {repetitions}; must be at least 1")
