"""SIGKILL at random moments of the pipeline, after each of which the run is finished."""

import math
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from getpass import getuser
from itertools import cycle, product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from support.project import TASKS, change_params, commit, copy_project, tiny

from reliability.trials import (
    Running,
    Trial,
    difference,
    file_digests,
    leftovers,
    run_to_end,
    spread,
)
from stages.core.task import STAGES
from stages.tools.restore_lock import delete_damaged_table, restore_lock

TARGETS = ("command", "child", "group")
RESTORE = ("python", "-m", "stages.tools.restore_lock")
REPRO = ("dvc", "repro")
SIDE_BY_SIDE = ("python", "-m", "stages.tools", "repro", "--jobs", "2")  # as `make repro`
CACHES = {f"torchinductor_{getuser()}"}  # torch keeps it among temporary files, undisturbed as well
_SECONDS_TO_START = 3.0  # of `evidence repro`, about
_SECONDS_TO_WRITE = 0.03  # of dvc.lock, about
RUN_CACHE = Path(".dvc/cache/runs")
_STARTED = re.compile(r"^Running stage '([\w@]+)':")


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
            change_params(folder, partial(_remove_task, name))
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

    def seconds(self) -> dict[str, float]:
        """Return how long each stage took in the undisturbed run."""
        return {
            name: end - start
            for (name, start), (_, end) in zip(self.starts, self.starts[1:], strict=False)
        }

    def make_stale(self, stages: Sequence[str]) -> None:
        """Bring the project into the state in which these stages are to run."""
        shutil.rmtree(self.folder / RUN_CACHE, ignore_errors=True)  # their outputs are not known
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


def _remove_task(name: str, params: dict[str, Any]) -> None:
    params["tasks"].pop(name)


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
    case = f"{moment.stage}, {moment.offset:.2f} s after its start, {len(stages)} stages to run"
    return _finish(project, running, running.kill(target), case)


def kill_side_by_side(project: Project, draw: random.Random, target: str) -> Trial:
    """Kill `evidence repro` at a random moment of two tasks' last stages, finish it, and compare."""
    first, second = (project.moment(draw).stage for _ in range(2))
    stages = [*dict.fromkeys([*stages_from(first), *stages_from(second)])]
    project.make_stale(stages)
    running = Running(project.folder, SIDE_BY_SIDE, project.scratch)
    lengths = project.seconds()
    offset = draw.uniform(0, _SECONDS_TO_START + sum(lengths[stage] for stage in stages) / 2)
    running.sleep(offset)
    case = f"{offset:.2f} s after its start, {len(stages)} stages to run"
    victim = running.kill(target)
    return _finish(project, running, victim, case, SIDE_BY_SIDE)


def kill_while_writing(project: Project, draw: random.Random) -> Trial:
    """Kill `dvc repro` while it writes dvc.lock, finish it, and compare."""
    stage = project.moment(draw).stage
    project.make_stale([stage])
    lock = project.folder / "dvc.lock"
    size = lock.stat().st_size
    running = Running(project.folder, REPRO, project.scratch)
    while lock.stat().st_size == size and running.process.poll() is None:
        time.sleep(0.0005)
    running.sleep(draw.uniform(0, _SECONDS_TO_WRITE))
    victim = running.kill("group")
    return _finish(project, running, f"{victim}, while it wrote dvc.lock", stage)


def _finish(
    project: Project, running: Running, victim: str, case: str, command: Sequence[str] = REPRO
) -> Trial:
    """Finish a run that was killed, by the same command, and compare."""
    problems = [] if running.end_of_processes() is not None else ["processes were left"]
    restored = restore_lock(project.folder)
    delete_damaged_table(project.folder)
    name = "evidence repro" if command == SIDE_BY_SIDE else "dvc repro"
    status, output = run_to_end(project.folder, command, project.scratch)
    if status:
        problems.append(f"{name}: {output.splitlines()[-1] if output else status}")
    problems += project.problems()
    outcome = "same bytes, after dvc.lock was put back" if restored else "same bytes"
    return Trial(f"`{name}`: {victim}", outcome, "; ".join(problems), case)


def with_copy(project: Project, kill: Callable[[], Trial]) -> Callable[[], Trial]:
    """Return `kill`, after which the project is replaced by a copy of it where there was a problem."""
    copy = project.folder.with_name(f"{project.folder.name}-copy")
    shutil.copytree(project.folder, copy, symlinks=True)

    def kill_and_mend() -> Trial:
        trial = kill()
        if trial.problem:
            shutil.rmtree(project.folder)
            shutil.copytree(copy, project.folder, symlinks=True)
            shutil.rmtree(project.scratch, ignore_errors=True)
        return trial

    return kill_and_mend


def run_kills_while_writing(
    folder: Path, count: int, seed: int, minutes: float = math.inf
) -> Iterator[Trial]:
    """Yield kills of the workshop's pipeline while DVC writes dvc.lock.

    Args:
        folder: for the project.
        count: of kills.
        seed: of when.
        minutes: after which no other kill begins.
    """
    draw = random.Random(seed)
    project = Project.build(folder / "workshop", ("workshop",))
    kill = with_copy(project, lambda: kill_while_writing(project, draw))
    yield from spread(count, lambda _: kill(), minutes)


def run_kills(folder: Path, count: int, seed: int, minutes: float = math.inf) -> Iterator[Trial]:
    """Yield kills of the pipeline of all tasks: of `evidence repro`, every third one of `dvc repro`.

    Args:
        folder: for the project.
        count: of kills.
        seed: of when, and which of its processes.
        minutes: after which no other kill begins.
    """
    draw = random.Random(seed)
    project = Project.build(folder / "pipeline")
    turns = cycle(product((kill_side_by_side, kill_side_by_side, kill_pipeline), TARGETS))

    def kill_next() -> Trial:
        kill_command, target = next(turns)
        return kill_command(project, draw, target)

    kill = with_copy(project, kill_next)
    yield from spread(count, lambda _: kill(), minutes)
