"""SIGKILL at random moments: of the pipeline, of verify and of experiments; then the run is finished."""

import json
import math
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from support.project import TASKS, change_params, commit, copy_project, run, tiny

from reliability.trials import (
    Running,
    Trial,
    difference,
    file_digests,
    leftovers,
    make_old,
    run_to_end,
    spread,
)
from stages.core.task import STAGES

TARGETS = ("command", "child", "group")
RESTORE = ("python", "-m", "stages.tools.restore_lock")
REPRO = ("dvc", "repro")
CHANGE = "train.learning_rate=0.015"
EXPERIMENT = ("python", "-m", "stages.tools", "experiment", "workshop", CHANGE, "--why", "a test")
EXPERIMENT_FOLDERS = Path(".dvc/tmp/exps/standalone")
LOG = Path("evidence/workshop/experiments.csv")
TIERS = ("metrics", "predictions")  # retrain runs stages as predictions does, and takes minutes
CACHES = {
    f"torchinductor_{getuser()}"
}  # what torch keeps among temporary files, undisturbed as well
_RUN_CACHE = Path(".dvc/cache/runs")
_STARTED = re.compile(r"^Running stage '([\w@]+)':")
SHARE_OF_TOOLS = 7  # of as many kills, one is of verify and one of an experiment


@dataclass(frozen=True)
class Moment:
    """A moment of an undisturbed run: the stage that runs, and the seconds since its start."""

    stage: str
    offset: float


@dataclass(frozen=True)
class Project:
    """A project in which the pipeline has run undisturbed, and is committed.

    Attributes:
        folder: of the project.
        scratch: where its commands put temporary files.
        digests: of its files, after the undisturbed run.
        starts: the seconds from the first stage's start to that of each stage; the last is the end.
    """

    folder: Path
    scratch: Path
    digests: dict[str, str]
    starts: list[tuple[str, float]]

    @classmethod
    def build(cls, folder: Path, tasks: Sequence[str] = TASKS) -> "Project":
        """Copy the project with tiny params and these tasks, run the pipeline, and commit the results."""
        folder.mkdir(parents=True)
        copy_project(folder)
        change_params(folder, tiny)
        for name in {*TASKS} - {*tasks}:
            change_params(folder, lambda params, name=name: params["tasks"].pop(name))
            shutil.rmtree(folder / "evidence" / name)
            (folder / f"data/review/{name}.md").unlink()
        (folder / "dvc.lock").unlink()  # its stages then lie in the order in which they run
        scratch = folder.parent / f"{folder.name}-scratch"
        running = Running(folder, REPRO, scratch)
        status, output = running.finish()
        if status:
            raise RuntimeError(output)
        commit(folder, "reproduced")
        starts = [
            (match[1], second) for second, line in running.lines if (match := _STARTED.match(line))
        ]
        return cls(folder, scratch, file_digests(folder), [*starts, ("", running.lines[-1][0])])

    def moment(self, draw: random.Random) -> Moment:
        """Return a moment of the run, each second of it as likely as any other."""
        second = draw.uniform(self.starts[0][1], self.starts[-1][1])
        stage, start = [(name, start) for name, start in self.starts[:-1] if start <= second][-1]
        return Moment(stage, second - start)

    def make_stale(self, stages: Sequence[str]) -> None:
        """Bring the project into the state in which these stages are to run."""
        shutil.rmtree(self.folder / _RUN_CACHE, ignore_errors=True)  # their outputs are not known
        yaml = YAML()
        yaml.width = 1000
        lock: Any = yaml.load((self.folder / "dvc.lock").read_text())
        for stage in stages:
            lock["stages"][stage]["deps"][0]["md5"] = "0" * 32
            for out in lock["stages"][stage]["outs"]:
                path = self.folder / out["path"]
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        with (self.folder / "dvc.lock").open("w") as file:
            yaml.dump(lock, file)

    def problems(self) -> list[str]:
        """Return what is not as after the undisturbed run: files, and scratch folders that are left."""
        changes = difference(self.digests, file_digests(self.folder))
        left = ", ".join(name for name in leftovers(self.scratch) if name not in CACHES)
        return [*filter(None, [changes, left and f"left in the temporary folder: {left}"])]


def stages_from(stage: str) -> list[str]:
    """Return a stage and those of its task after it."""
    name, _, task = stage.partition("@")
    return [f"{later}@{task}" for later in STAGES[STAGES.index(name) :]] if task else [stage]


def kill_pipeline(project: Project, draw: random.Random, target: str) -> Trial:
    """Kill `dvc repro` at a random moment, finish it, and compare."""
    moment = project.moment(draw)
    stages = stages_from(moment.stage) if draw.random() < 0.2 else [moment.stage]
    project.make_stale(stages)
    running = Running(project.folder, REPRO, project.scratch)
    running.wait_for(f"Running stage '{moment.stage}'")
    running.sleep(moment.offset)
    victim = running.kill(target)
    seconds = running.end_of_processes()
    case = f"{moment.stage}, {moment.offset:.2f} s after its start, {len(stages)} stages to run"
    problems = [] if seconds is not None else ["processes were left"]
    _, restored = run_to_end(project.folder, RESTORE, project.scratch)
    status, output = run_to_end(project.folder, REPRO, project.scratch)
    if status:
        problems.append(f"dvc repro: {output.splitlines()[-1] if output else status}")
    problems += project.problems()
    outcome = "same bytes, after dvc.lock was put back" if "dvc.lock" in restored else "same bytes"
    return Trial(f"`dvc repro`: {victim}", outcome, "; ".join(problems), case)


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
        shutil.rmtree(folder / _RUN_CACHE, ignore_errors=True)


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
    make_old(folder / EXPERIMENT_FOLDERS)
    path = folder / LOG
    committed = run(folder, "git", "status", "--porcelain", "--", str(LOG)).stdout
    if not committed:  # the log has no row of it yet
        status, output = run_to_end(folder, EXPERIMENT, scratch)
        if status:
            problems.append(f"evidence experiment: {output.splitlines()[-1]}")
    if not path.exists() or path.read_bytes() != log:
        problems.append(f"another log: {path.read_text() if path.exists() else 'none'}")
    left = [name for name in leftovers(folder / EXPERIMENT_FOLDERS) if name.startswith("tmp")]
    if left:
        problems.append(f"left in {EXPERIMENT_FOLDERS}: {', '.join(left)}")
    tools.forget_experiments()
    problems += tools.project.problems()
    case = f"{second:.1f} of {length:.1f} s"
    return Trial(f"`evidence experiment`: {victim}", "same log", "; ".join(problems), case)


def run_kills(folder: Path, count: int, seed: int, minutes: float = math.inf) -> Iterator[Trial]:
    """Yield `count` kills: of the pipeline, of verify and of experiments.

    Args:
        folder: for the projects; after a kill with a problem they are built anew from copies.
        count: of kills.
        seed: of what is killed, when, and which of its processes.
        minutes: after which no other kill begins.
    """
    draw = random.Random(seed)
    pipeline = Project.build(folder / "pipeline")
    tools = Tools.build(folder / "tools")
    copies = {
        project.folder: folder / f"{project.folder.name}-copy"
        for project in (pipeline, tools.project)
    }
    for original, copy in copies.items():
        shutil.copytree(original, copy, symlinks=True)

    def kill(number: int) -> Trial:
        target = TARGETS[number // SHARE_OF_TOOLS % len(TARGETS)]
        if number % SHARE_OF_TOOLS == SHARE_OF_TOOLS - 1:
            trial, original = kill_verify(tools, draw, target), tools.project.folder
        elif number % SHARE_OF_TOOLS == SHARE_OF_TOOLS - 2:
            trial, original = kill_experiment(tools, draw, target), tools.project.folder
        else:
            trial, original = kill_pipeline(pipeline, draw, target), pipeline.folder
        if trial.problem:
            shutil.rmtree(original)
            shutil.copytree(copies[original], original, symlinks=True)
            shutil.rmtree(original.parent / f"{original.name}-scratch", ignore_errors=True)
        return trial

    yield from spread(count, kill, minutes)
