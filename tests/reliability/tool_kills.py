"""SIGKILL at random moments of verify and of experiments, after each of which the command is run again."""

import json
import math
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

from support.project import run

from reliability.kills import RUN_CACHE, TARGETS, Project, with_copy
from reliability.trials import Running, Trial, leftovers, make_old, run_to_end, spread
from stages.tools.dvc_experiments import FOLDER

CHANGE = "train.learning_rate=0.015"
EXPERIMENT = ("python", "-m", "stages.tools", "experiment", "workshop", CHANGE, "--why", "a test")
LOG = Path("evidence/workshop/experiments.csv")
TIERS = ("metrics", "predictions")  # retrain runs stages as predictions does, and takes minutes


@dataclass(frozen=True)
class Tools:
    """A small project for kills of verify and of experiments, with what undisturbed runs of these give.

    Attributes:
        project: with the task workshop alone.
        reports: what verify says of each stage, by tier, and its seconds.
        log: experiments.csv after one experiment, and its seconds.
    """

    project: Project
    reports: dict[str, tuple[Any, float]]
    log: tuple[bytes, float]

    @classmethod
    def build(cls, folder: Path) -> "Tools":
        """Build the project and run each tool once."""
        project = Project.build(folder, ("workshop",))
        reports = {}
        for tier in TIERS:
            running = Running(folder, verify(tier), project.scratch)
            running.finish()
            reports[tier] = (_verdicts(project), running.seconds())
        running = Running(folder, EXPERIMENT, project.scratch)
        status, output = running.finish()
        if status:
            raise RuntimeError(output)
        tools = cls(project, reports, ((folder / LOG).read_bytes(), running.seconds()))
        tools.forget_experiments()
        return tools

    def forget_experiments(self) -> None:
        """Bring the project back to where no experiment has been run."""
        folder = self.project.folder
        references = run(folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout
        for reference in references.split():
            run(folder, "git", "update-ref", "-d", reference)
        run(folder, "git", "checkout", "--quiet", "--", ".")
        run(folder, "git", "clean", "-fdq")
        run(folder, "dvc", "checkout", "--quiet")
        shutil.rmtree(folder / RUN_CACHE, ignore_errors=True)


def verify(tier: str) -> tuple[str, ...]:
    """Return the command that verifies the last commit up to a tier, and writes its report."""
    return ("python", "-m", "stages.tools", "verify", "--tier", tier, "--json", "../report.json")


def _verdicts(project: Project) -> Any:
    path = project.folder.parent / "report.json"
    report = json.loads(path.read_text())
    path.unlink()
    return [report["verdict"], [(stage["stage"], stage["verdict"]) for stage in report["stages"]]]


def kill_verify(tools: Tools, draw: random.Random, target: str) -> Trial:
    """Kill `evidence verify` at a random moment, run it again, and compare."""
    tier = draw.choice(TIERS)
    verdicts, length = tools.reports[tier]
    folder, scratch = tools.project.folder, tools.project.scratch
    running = Running(folder, verify(tier), scratch)
    second = draw.uniform(0, length)
    running.sleep(second)
    victim = running.kill(target)
    seconds = running.end_of_processes()
    (folder.parent / "report.json").unlink(missing_ok=True)
    problems = [] if seconds is not None else ["processes were left"]
    make_old(scratch)
    _, output = run_to_end(folder, verify(tier), scratch)
    try:
        if _verdicts(tools.project) != verdicts:
            problems.append("other verdicts")
    except FileNotFoundError:
        problems.append(f"no report: {output.splitlines()[-1]}")
    problems += tools.project.problems()
    case = f"tier {tier}, {second:.1f} of {length:.1f} s"
    return Trial(f"`evidence verify`: {victim}", "same verdicts", "; ".join(problems), case)


def kill_experiment(tools: Tools, draw: random.Random, target: str) -> Trial:
    """Kill `evidence experiment` at a random moment, run it again, and compare."""
    log, length = tools.log
    folder, scratch = tools.project.folder, tools.project.scratch
    running = Running(folder, EXPERIMENT, scratch)
    second = draw.uniform(0, length)
    running.sleep(second)
    victim = running.kill(target)
    seconds = running.end_of_processes()
    problems = [] if seconds is not None else ["processes were left"]
    make_old(scratch)
    make_old(folder / FOLDER)
    outcome = "same log"
    if b"failed: " in (folder / LOG).read_bytes():  # evidence experiment itself went on
        outcome = "logged as a failed experiment"
    elif not run(folder, "git", "status", "--porcelain", "--", str(LOG)).stdout:
        status, output = run_to_end(folder, EXPERIMENT, scratch)
        if status:
            problems.append(f"evidence experiment: {output.splitlines()[-1]}")
    text = (folder / LOG).read_bytes()
    if outcome == "same log" and text != log:
        problems.append(f"another log: {text.decode()}")
    if left := leftovers(folder / FOLDER):
        problems.append(f"left in {FOLDER}: {', '.join(left)}")
    tools.forget_experiments()
    problems += tools.project.problems()
    case = f"{second:.1f} of {length:.1f} s"
    return Trial(f"`evidence experiment`: {victim}", outcome, "; ".join(problems), case)


def run_tool_kills(
    folder: Path, count: int, seed: int, minutes: float = math.inf
) -> Iterator[Trial]:
    """Yield kills of verify and of experiments, in turn.

    Args:
        folder: for the project.
        count: of kills.
        seed: of when, and which of its processes.
        minutes: after which no other kill begins.
    """
    draw = random.Random(seed)
    tools = Tools.build(folder / "tools")
    turns = cycle(product(TARGETS, (kill_verify, kill_experiment)))

    def kill() -> Trial:
        target, kill_tool = next(turns)
        return kill_tool(tools, draw, target)

    kill_and_mend = with_copy(tools.project, kill)
    yield from spread(count, lambda _: kill_and_mend(), minutes)
