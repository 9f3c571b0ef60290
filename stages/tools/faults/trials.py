"""Trials: inject each fault into a scratch clone, and see whether the project's checks detect it.

Beside the faults, clean trials run a task without any fault: then every warning is a false one.

`python -m stages.tools.faults.trials TASK NAME FILE` is one trial, as a job runs it: of a fault by its
name, or a clean one by its seed.
"""

import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stages.core.errors import UserError, exit_on_user_error
from stages.core.files import read_json, to_json, write
from stages.core.processes import run_command, scratch_folder
from stages.core.repositories import git
from stages.tools import scratch
from stages.tools.faults.catalogue import FAULTS, VERIFY, Fault
from stages.tools.faults.injection import applies, inject

AUTHOR = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (("NAME", "faults"), ("EMAIL", "faults@example.invalid"))
}
_CLEAN_STAGES = ("prepare", "check", "baseline", "train", "evaluate", "failures")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial.

    Attributes:
        passed: whether the right check detected the fault; in a clean trial, whether all checks were
            silent.
        line: what a check printed, or where the stages stopped; "nothing" for neither.
        seconds: that the stages took.
    """

    passed: bool
    line: str
    seconds: float


@dataclass
class CheckOutput:
    """The lines that checks printed, the line on which a stage stopped ("" if none did), and the time."""

    lines: list[str] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0


def run_stages(clone: Path, task: str, stages: tuple[str, ...]) -> CheckOutput:
    """Run stages in a clone, up to the first that fails, and return the output of their checks."""
    output, start = CheckOutput(), time.perf_counter()
    for stage in stages:
        result = scratch.run_stage(clone, stage, task)
        lines = result.stderr.strip().splitlines()
        output.lines += [line for line in lines if line.startswith(f"{stage}@{task}")]
        if stage == "check":
            output.lines += list(_failed_checks(clone, task))
        if result.returncode:
            output.stopped = scratch.failure_line(stage, result)
            break
    output.seconds = time.perf_counter() - start
    return output


def _failed_checks(clone: Path, task: str) -> Iterator[str]:
    path = clone / "data" / "check" / task / "checks.json"
    for check in read_json(path) if path.exists() else []:
        if not check["passed"]:
            yield f"check@{task}: {check['check']}: {check['observed']}"


class TaskTrials:
    """The trials of one task, each in a copy of one prepared clone of HEAD.

    Args:
        task: by name.
        folder: an empty scratch folder.

    Raises:
        UserError: HEAD does not have the task, or prepare fails without a fault.
    """

    def __init__(self, task: str, folder: Path) -> None:
        self.folder = folder
        self.base = scratch.clone_head(folder / "base")
        tasks = scratch.read_tasks(self.base)
        if task not in tasks:
            raise UserError(
                f"{task}: is not in HEAD; commit it first, since HEAD is what is cloned"
            )
        self.task = tasks[task]
        scratch.link_local_inputs(self.base, self.task)
        shutil.rmtree(self.base / ".git")
        output = run_stages(self.base, task, ("prepare",))
        if output.stopped:
            raise UserError(f"the scratch clone without a fault: {output.stopped}")

    def applies(self, fault: Fault) -> bool:
        """Return whether a fault can be injected into the task."""
        return applies(fault, self.task, self.base)

    def run_fault(self, fault: Fault) -> Outcome:
        """Inject a fault, run the stages that must detect it, and return the outcome."""
        output = self._verify(fault) if VERIFY in fault.stages else self._run_stages(fault)
        for line in output.lines:
            if re.search(fault.pattern, line):
                return Outcome(passed=True, line=line, seconds=output.seconds)
        return Outcome(passed=False, line=output.stopped or "nothing", seconds=output.seconds)

    def run_clean(self, seed: int) -> Outcome:
        """Run the task without a fault, and with its own params, for another split and training seed.

        Args:
            seed: of the split and of training.
        """
        with self._copy(f"clean-{seed}") as clone:
            changes = {"prepare": {"split": {"seed": seed}}, "train": {"seeds": [seed]}}
            scratch.change_params(clone, self.task.name, changes)
            output = run_stages(clone, self.task.name, _CLEAN_STAGES)
        lines = [*output.lines, output.stopped] if output.stopped else output.lines
        return Outcome(not lines, lines[0] if lines else "nothing", output.seconds)

    def _run_stages(self, fault: Fault) -> CheckOutput:
        from stages.kinds.registry import KINDS

        with self._copy(fault.name) as clone:
            if self.task.kind not in fault.own_params:
                scratch.change_params(clone, self.task.name, KINDS[self.task.kind].small_params)
            inject(fault, self.task, clone)
            return run_stages(clone, self.task.name, fault.stages)

    def _verify(self, fault: Fault) -> CheckOutput:
        """Commit a forgery in a clone of HEAD, and return the output of verify."""
        clone = scratch.clone_head(self.folder / fault.name)
        inject(fault, self.task, clone)
        git(
            *(clone, "commit", "--quiet", "--all", "--message", "better metrics"),
            extra_environment=AUTHOR,
        )
        verify = ("verify", "--tier", "metrics", "--only", self.task.name, "compare")
        start = time.perf_counter()
        result = run_command(clone, "python", "-m", "stages.tools", *verify)
        seconds = time.perf_counter() - start
        shutil.rmtree(clone)
        stopped = f"verify: exit status {result.returncode}"
        return CheckOutput(result.stdout.strip().splitlines(), stopped, seconds)

    @contextmanager
    def _copy(self, name: str) -> Iterator[Path]:
        clone = self.folder / name
        shutil.copytree(self.base, clone, symlinks=True)
        try:
            yield clone
        finally:
            shutil.rmtree(clone)


def main() -> None:
    """Run the trial that the command line names, and write its outcome to a file."""
    task, name, path = sys.argv[1:]
    with exit_on_user_error("trial"), scratch_folder() as folder:
        trials = TaskTrials(task, folder)
        if name.isdigit():
            outcome = trials.run_clean(int(name))
        else:
            outcome = trials.run_fault(next(fault for fault in FAULTS if fault.name == name))
        write(Path(path), to_json(asdict(outcome)))


if __name__ == "__main__":
    main()
