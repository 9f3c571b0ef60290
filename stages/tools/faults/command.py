"""Inject known mistakes into scratch clones, and see whether the project's own checks detect them.

`list` shows the fault catalogue; `inject` leaves a clone with one fault in it, to practise on; `run`
injects every fault, runs the stages that must detect it, and prints docs/faults.md. What is cloned is
HEAD; the work tree is not touched.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.core.processes import scratch_folder
from stages.core.repositories import git
from stages.tools import scratch
from stages.tools.faults.catalogue import FAULTS, VERIFY, Fault
from stages.tools.faults.injection import applies, inject
from stages.tools.faults.trials import AUTHOR, Outcome, TaskTrials
from stages.tools.jobs import site as job_site
from stages.tools.jobs.job import Job

if TYPE_CHECKING:
    from stages.core.task import Task

ANY = "any"
MISSED_STATUS = 1
_ROOT = Path()
_LINE_LENGTH = 150
_OUTCOME = ".dvc/tmp/trial.json"  # git ignores it


def list_faults() -> None:
    """Print the fault catalogue, with the tasks of params.yaml that each fault applies to."""
    tasks = scratch.read_tasks(_ROOT)
    for fault in FAULTS:
        names = [name for name, task in tasks.items() if applies(fault, task, _ROOT)]
        print(f"{fault.name}: {fault.description}")
        print(f"    detected by {fault.check} ({', '.join(names) or 'no task'})")


def select_fault(name: str, task: str | None) -> tuple[Fault, "Task"]:
    """Return a fault and the task to inject it into.

    Args:
        name: of the fault, or "any" for a random one.
        task: by name; None for the first that the fault applies to.

    Raises:
        UserError: there is no such fault or task, or the fault does not apply to it.
    """
    from stages.kinds.params import select_task

    tasks = scratch.read_tasks(_ROOT)
    candidates = [select_task(tasks, task)] if task else list(tasks.values())
    faults = FAULTS if name == ANY else _named(name)
    pairs = [
        (fault, candidate)
        for fault in faults
        for candidate in candidates
        if applies(fault, candidate, _ROOT)
    ]
    if not pairs:
        raise UserError(
            f"{name} applies to no task of {', '.join(candidate.name for candidate in candidates)}; "
            "`evidence faults list` shows where each fault applies"
        )
    fault = secrets.choice(list(dict.fromkeys(fault for fault, _ in pairs)))
    return next(pair for pair in pairs if pair[0] is fault)


def _named(name: str | None) -> Sequence[Fault]:
    """Return the fault of that name; all for None."""
    faults = [fault for fault in FAULTS if name in {None, fault.name}]
    if not faults:
        names = ", ".join(fault.name for fault in FAULTS)
        raise UserError(f"given fault {name!r}; must be one of {names}")
    return faults


def inject_fault(name: str, task_name: str | None, folder: Path | None, *, quiet: bool) -> None:
    """Leave a clone with a fault in it, and print the command that runs it.

    Args:
        name: of the fault, or "any".
        task_name: None for the first task that the fault applies to.
        folder: the clone's, absent or empty; None for a temporary one.
        quiet: whether to hide which fault it is, and where.

    Raises:
        UserError: the folder is in use, or the fault does not apply.
    """
    if folder and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--into: {folder} is there already; must be absent or an empty folder")
    fault, task = select_fault(name, task_name)
    clone = scratch.clone_head((folder or Path(tempfile.mkdtemp(prefix="fault-"))).resolve())
    scratch.link_local_inputs(clone, task)
    inject(fault, task, clone)
    if quiet:  # one commit without history, so that git does not show the fault
        shutil.rmtree(clone / ".git")
        git(clone, "init", "--quiet", "--initial-branch", "main")
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", "with a fault", extra_environment=AUTHOR)
    else:
        print(f"{fault.name}: {fault.description}; `git diff` shows it")
        print(f"to be detected by {fault.check}")
    if VERIFY in fault.stages:
        print(f"cd {clone} && git commit --quiet --all --message better; evidence verify")
    else:
        print(f"cd {clone} && dvc repro --glob '*@{task.name}'")


@dataclass(frozen=True)
class Trial:
    """A trial to run: of a fault, or a clean one with its seed."""

    task: str
    fault: Fault | None
    seed: int = 0

    @property
    def name(self) -> str:
        """Return what the report calls it."""
        return self.fault.name if self.fault else f"none (training and split seed {self.seed})"

    def result(self, outcome: Outcome) -> str:
        """Return its outcome in a word."""
        if self.fault:
            return "detected" if outcome.passed else "**missed**"
        return "silent" if outcome.passed else "**false warning**"


def plan_trials(
    tasks: Mapping[str, "Task"], faults: Sequence[Fault], seeds: Sequence[int]
) -> list[Trial]:
    """Return the trials of tasks: of each fault that applies, and a clean one for each seed."""
    return [
        trial
        for name, task in tasks.items()
        for trial in (
            *(Trial(name, fault) for fault in faults if applies(fault, task, _ROOT)),
            *(Trial(name, None, seed) for seed in seeds),
        )
    ]


def run_trials(trials: Sequence[Trial]) -> Iterator[tuple[Trial, Outcome]]:
    """Run trials one after the other, those of a task from one prepared clone."""
    for task, own_trials in groupby(trials, key=lambda trial: trial.task):
        with scratch_folder() as folder:
            runner = TaskTrials(task, folder)
            for trial in own_trials:
                if trial.fault:
                    yield trial, runner.run_fault(trial.fault)
                else:
                    yield trial, runner.run_clean(trial.seed)


def submit_trials(
    trials: Sequence[Trial], tasks: Mapping[str, "Task"], on: str
) -> Iterator[tuple[Trial, Outcome]]:
    """Run trials as jobs; each prepares its own clone.

    Args:
        trials: to run.
        tasks: by name.
        on: where, as `--on` names it.

    Raises:
        UserError: a trial cannot be run.
    """
    from stages.kinds.params import load_params

    jobs, by_name = [], {}
    for trial in trials:
        argument = trial.fault.name if trial.fault else str(trial.seed)
        words = ("python", "-m", "stages.tools.faults.trials", trial.task, argument, _OUTCOME)
        link = partial(scratch.link_local_inputs, task=tasks[trial.task])
        job = Job(f"{trial.task}, {trial.name}", [words], link)
        jobs.append(job)
        by_name[job.name] = trial
    command = f"faults {' '.join(by_name)}"
    with job_site.open_site(on, command, load_params(), [*tasks.values()]) as site:
        for ended in site.run(jobs):
            if ended.failure:
                raise UserError(f"{ended.name}: {ended.failure}")
            yield by_name[ended.name], Outcome(**read_json(ended.clone / _OUTCOME))


def print_trials(
    tasks: Mapping[str, "Task"], faults: Sequence[Fault], seeds: Sequence[int], on: str = ""
) -> bool:
    """Print the report of all trials, in Markdown; return whether all passed.

    Args:
        tasks: by name.
        faults: those that do not apply to a task are left out.
        seeds: of the clean trials.
        on: where jobs run; "" for one trial after the other in this process.
    """
    from stages.report.formatting import markdown_table

    trials = plan_trials(tasks, faults, seeds)
    outcomes = {}
    for trial, outcome in submit_trials(trials, tasks, on) if on else run_trials(trials):
        line = f"{trial.name}: {trial.result(outcome)}, {outcome.seconds:.0f} s"
        print(f"{trial.task}: {line}", file=sys.stderr)
        outcomes[trial] = outcome
    rows = [
        [
            trial.name,
            trial.task,
            trial.result(outcomes[trial]),
            _shorten(outcomes[trial].line),
            f"{outcomes[trial].seconds:.0f}",
        ]
        for trial in trials
    ]
    print(_preface(len(faults), len(seeds)))
    print(markdown_table(["fault", "task", "result", "detected by", "seconds"], rows, [4]))
    return all(outcome.passed for outcome in outcomes.values())


def _shorten(line: str) -> str:
    return line if len(line) <= _LINE_LENGTH else line[:_LINE_LENGTH].rsplit(" ", 1)[0] + " …"


def _preface(faults: int, clean: int) -> str:
    from stages.core.machine import machine_record
    from stages.kinds.params import load_params

    machine = machine_record(load_params().runtime)
    libraries = ("python", "torch", "numpy", "scikit-learn")
    versions = ", ".join(f"{name} {machine[name]}" for name in libraries)
    return (
        "# Injected faults, and the checks that detect them\n\n"
        f"`evidence faults run` at commit {git(_ROOT, 'rev-parse', '--short', 'HEAD')}: {faults} "
        "faults, each injected into a scratch clone of its own, one run each, with small params where "
        f"these show the fault; then {clean} runs of each task without a fault and with its own params, "
        "in which only the seeds of the split and of training differ and any warning is a false one. "
        "Seconds are those of the stages that must run. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, {versions}.\n"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="{list,inject,run}")
    commands.add_parser("list", help="print the fault catalogue")
    injecting = commands.add_parser(
        "inject",
        help="leave a clone with a fault in it",
        epilog="example: evidence faults inject any --task workshop --quiet",
    )
    injecting.add_argument("name", help=f"of a fault, or `{ANY}` for a random one")
    injecting.add_argument("--task", help="default: the first that the fault applies to")
    injecting.add_argument("--quiet", action="store_true", help="hide which fault it is, and where")
    injecting.add_argument(
        "--into", type=Path, help="the clone's folder (default: a temporary one)"
    )
    running = commands.add_parser(
        "run",
        help="inject each fault, and see which check detects it",
        epilog="example: evidence faults run --task workshop --fault hash-seed --clean 0",
    )
    running.add_argument("--task", help="one task only")
    running.add_argument("--fault", help="one fault only")
    running.add_argument(
        "--clean", type=int, default=3, help="runs of each task without a fault (default: 3)"
    )
    running.add_argument(
        "--seed",
        type=int,
        default=1,
        help="of the first of these; the next has the next (default: 1)",
    )
    job_site.add_arguments(running)


def run(arguments: argparse.Namespace) -> int | None:
    """List the faults, inject one, or run all.

    Returns:
        The exit status: 1 if a fault was missed or a warning was false.

    Raises:
        UserError: an argument is not allowed.
    """
    from stages.kinds.params import select_task

    if arguments.action == "list":
        list_faults()
        return None
    if arguments.action == "inject":
        inject_fault(arguments.name, arguments.task, arguments.into, quiet=arguments.quiet)
        return None
    faults, tasks = _named(arguments.fault), scratch.read_tasks(_ROOT)
    selected = [select_task(tasks, arguments.task)] if arguments.task else [*tasks.values()]
    if arguments.clean < 0 or arguments.seed < 0:
        raise UserError(
            f"given --clean {arguments.clean} --seed {arguments.seed}; must be 0 or more"
        )
    seeds = range(arguments.seed, arguments.seed + arguments.clean)
    by_name = {task.name: task for task in selected}
    return None if print_trials(by_name, faults, seeds, arguments.on) else MISSED_STATUS
