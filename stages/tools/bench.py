"""Measure results over further splits and training seeds, and how long everything takes.

Prints Markdown. Everything runs the committed code (HEAD) in scratch clones; the work tree is not
touched. Times are medians over repetitions, and hold for the machine that the report names.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.core.processes import last_line, run_command, scratch_folder
from stages.core.repositories import git
from stages.core.task import STAGES
from stages.tools import scratch

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.kind import BenchRuns

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


_REPEATED = ("prepare", "check", "baseline", "train", "evaluate")  # the stages of each repeat


def variation(repeat: int) -> dict[str, Any]:
    """Return the params of a task that differ in a repeat: the seeds of the split and of all training.

    Both vary together, so that the repeats show all that a result owes to chance (Bouthillier et al., 2021,
    section 4).
    """
    return {
        "prepare": {"split": {"seed": repeat}},
        "baseline": {"flatten_linear": {"seed": repeat}},
        "train": {"seeds": [repeat]},
    }


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


def results(task: "Task", bench: "BenchRuns", repeats: int) -> str:
    """Return a table of a task's results over `repeats` splits and training seeds, in Markdown."""
    from stages.report.formatting import markdown_table

    rows: list[dict[str, Any]] = []
    gains: list[float] = []
    with _clone([task]) as clone:
        for repeat in range(repeats):
            scratch.change_params(clone, task.name, variation(repeat))
            for stage in _REPEATED:
                run_timed(clone, "python", "-m", f"stages.{stage}", task.name)
            metrics = read_json(clone / task.folder("evaluate") / "metrics.json")
            rows.append({"seed": repeat, **select_figures(metrics, bench.columns)})
            gains.append(metrics["current"]["improvement"]["gain"])
    figures = [row[bench.summary] for row in rows]
    table = markdown_table(list(rows[0]), [[_cell(cell) for cell in row.values()] for row in rows])
    return (
        f"{table}\n\nThe seed is that of the split and of training: each repeat holds out other data and "
        f"trains another model. {bench.summary.capitalize()}: mean {mean(figures):.4f}, standard deviation "
        f"{stdev(figures):.4f}, least {min(figures):.4f}, most {max(figures):.4f}, over {repeats} repeats."
        f"\n\n{describe_outperforming(gains, task.params.evaluate.confidence)}"
    )


def describe_outperforming(gains: Sequence[float], confidence: float) -> str:
    """Return in words how probably the model outperforms the strongest baseline in another repeat.

    Args:
        gains: over the strongest baseline, of each repeat.
        confidence: level of the interval.
    """
    from stages.evaluation.outperforming import (
        GAMMA,
        probability_of_outperforming,
        recommended_repeats,
    )

    p = probability_of_outperforming(gains, confidence)
    wins, ties = sum(gain > 0 for gain in gains), sum(gain == 0 for gain in gains)
    return (
        f"P(model > strongest baseline): {p.share:.2f}, {confidence:.0%} interval {p.low:.2f} to "
        f"{p.high:.2f}, from {wins} wins and {ties} ties, which count half, in {p.repeats} repeats: "
        f"{p.conclusion}. Better: the interval lies above 0.5; meaningfully: it also reaches above {GAMMA} "
        f"(Bouthillier et al., 2021, who recommend {recommended_repeats()} repeats). The repeats share "
        "samples, so the interval is optimistic: it is too narrow."
    )


def select_figures(metrics: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Return figures of metrics.json by heading.

    Args:
        metrics: its content.
        columns: heading -> dotted path; a `*` in both stands for each key at that place.
    """
    figures: dict[str, Any] = {}
    for heading, path in columns.items():
        before, star, _ = path.partition("*")
        names = _at(metrics, before.rstrip(".")) if star else [""]
        for name in names:
            figures[heading.replace("*", name)] = _at(metrics, path.replace("*", name))
    return figures


def _at(metrics: Any, path: str) -> Any:
    for key in path.split("."):
        metrics = metrics[key]
    return metrics


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def pipeline_times(tasks: Sequence["Task"], repetitions: int) -> str:
    """Return the times of all tasks, side by side and one stage at a time, and of verify, in Markdown."""
    from stages.report.formatting import markdown_table

    from_nothing, serial, nothing_to_do, cheap_tiers, shares = [], [], [], [], []
    repro = ("python", "-m", "stages.tools", "repro")
    verify = ("python", "-m", "stages.tools", "verify", "--json", "verify.json")
    for _ in range(repetitions):
        with _clone(tasks) as clone:
            serial.append(run_timed(clone, "dvc", "repro", "--quiet")[0])
        with _clone(tasks) as clone:
            from_nothing.append(run_timed(clone, *repro)[0])
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
        _timing("`evidence repro` with nothing to do", nothing_to_do, GOAL_NOTHING_TO_DO),
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


def run(arguments: argparse.Namespace) -> None:
    """Print the report.

    Raises:
        UserError: an argument is not allowed, or a command fails in a scratch clone.
    """
    from stages.core.machine import machine_record
    from stages.kinds.params import load_params, load_tasks, select_task
    from stages.kinds.registry import KINDS

    _check_numbers(arguments.repeats, arguments.repetitions)
    if arguments.task and arguments.pipeline:
        raise UserError("give either --task or --pipeline")
    params = load_params()
    tasks = load_tasks(params)
    selected = [select_task(tasks, arguments.task)] if arguments.task else list(tasks.values())
    machine = ", ".join(f"{key} {value}" for key, value in machine_record(params.runtime).items())
    commit = git(Path(), "rev-parse", "--short", "HEAD")
    print(f"# Bench\n\n`evidence bench` at commit {commit}. {machine}.", flush=True)
    if not arguments.task:
        times = pipeline_times(selected, arguments.repetitions)
        print(f"\n## All tasks: time\n\n{times}", flush=True)
    for task in [] if arguments.pipeline else selected:
        bench = KINDS[task.kind].bench
        table = results(task, bench, arguments.repeats or bench.repeats)
        print(f"\n## {task.name}: splits and training seeds\n\n{table}", flush=True)
        print(
            f"\n## {task.name}: time\n\n{task_times(task, arguments.repetitions)}",
            flush=True,
        )


def _check_numbers(repeats: int | None, repetitions: int) -> None:
    if repeats is not None and repeats < _FEWEST_REPEATS:
        raise UserError(f"--repeats: given {repeats}; must be at least {_FEWEST_REPEATS}")
    if repetitions < 1:
        raise UserError(f"--repetitions: given {repetitions}; must be at least 1")
