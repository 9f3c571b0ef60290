"""Running stages of a clone again, in the sandbox, each held against dvc.lock right after it ran."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import EVIDENCE_ERROR_STATUS, UserError
from stages.core.processes import TimeLimitError, run_command, shell_command
from stages.tools.verify.failure_reason import failure_reason
from stages.tools.verify.lock import LockedRepo, OutputComparison
from stages.tools.verify.pipeline import command_disagreement, pipeline_stages
from stages.tools.verify.sandbox import Limits, sandboxed
from stages.tools.verify.trusted_code import TrustedStage, run_side_by_side
from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from dvc.stage import Stage

_CACHES = {  # where libraries look for files that they have fetched before
    "TORCH_HOME": ".cache/torch",
    "HF_HOME": ".cache/huggingface",
}
State = dict[str, tuple[int, ...]]
STAGES_GIT = "stages.git"  # beside the clone: the git folder that its stages see


@dataclass(frozen=True)
class Failure:
    """Why a stage did not run; `contradicts`: no machine makes honest results fail so."""

    reason: str
    contradicts: bool = False


@dataclass
class Rerun:
    """What running stages again gave.

    Attributes:
        stages: in the order in which they ran.
        failures: by stage, why it did not run.
        outputs: by stage, its outputs right after it ran, compared with dvc.lock.
        tampering: by stage, which file it changed that is no output of its own.
    """

    stages: list[str]
    failures: dict[str, Failure] = field(default_factory=dict)
    outputs: dict[str, OutputComparison] = field(default_factory=dict)
    tampering: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """Runs stages of a clone again.

    Attributes:
        repo: the clone.
        code: the paths of its code, which no stage may change.
        network: whether stages may use the network.
        seconds: after which a stage is ended; None for no limit.
        is_own_code: whether the code is this project's, byte for byte.
        fetch_error: why data that DVC tracks could not be fetched, "" if they could.
    """

    repo: LockedRepo
    code: frozenset[str] = frozenset()
    network: bool = False
    seconds: float | None = None
    is_own_code: bool = False
    fetch_error: str = ""

    def run(self, names: Sequence[str]) -> Rerun:
        """Run stages, each after deleting its outputs; one that depends on a failed one is not run.

        Foreign code runs one stage at a time: before a stage runs, and at the end, the outputs of those
        before it must be as they were left. This project's own needs no such watch.
        """
        if self._runs_own_code_only(names):
            return self._run_side_by_side(names)
        return self._run_in_order(names)

    def _runs_own_code_only(self, names: Sequence[str]) -> bool:
        pipeline = pipeline_stages(self.repo)
        return (
            self.is_own_code
            and self.seconds is None
            and all(
                name in pipeline and not command_disagreement(self.repo, name) for name in names
            )
            and not any(self._unavailable(name) for name in names)
        )

    def _run_side_by_side(self, names: Sequence[str]) -> Rerun:
        for name in names:
            self.delete_outputs(name)
        graph = self.repo.dvc.index.graph  # from a stage to what it depends on
        names_of = {stage: name for name, stage in self.repo.stages.items()}
        folders, environment = _scratch_folders(self.repo.root), _environment(self.repo.root)
        stages = {
            name: TrustedStage(
                command_lines(self.repo.stages[name]),
                [names_of[needed] for needed in graph.successors(self.repo.stages[name])],
                {"DVC_STAGE": name},
            )
            for name in names
        }
        root, network = self.repo.root, self.network
        failures = run_side_by_side(root, stages, folders, environment, network=network)
        rerun = Rerun(list(names))
        for name in names:
            if name in failures:
                status, output = failures[name].status, failures[name].output
                reason = f"it fails: {failure_reason(output, '', status)}" if status else output
                rerun.failures[name] = Failure(reason, status == EVIDENCE_ERROR_STATUS)
            else:
                rerun.outputs[name] = self.repo.compare_outputs(name)
        return rerun

    def _run_in_order(self, names: Sequence[str]) -> Rerun:
        import networkx as nx

        rerun = Rerun(list(names))
        states = {"git": self._committed_state()}
        for name in names:
            stage = self.repo.stages[name]
            before = nx.descendants(self.repo.dvc.index.graph, stage)
            failed = [failure for failure in rerun.failures if self.repo.stages[failure] in before]
            failure = None
            if unavailable := self._unavailable(name):
                failure = Failure(unavailable)
            elif failed:
                failure = Failure(f"{failed[0]}, on which it depends, was not run")
            elif stage.cmd:
                failure = self._run_stage(name)
                changed = next(self._changed_files(states), "")
                if changed:
                    rerun.tampering[name] = (
                        f"{changed}: {name} changed it, and it is no output of it"
                    )
            try:
                rerun.outputs[name] = self.repo.compare_outputs(name)
                states[name] = self._output_state(name)
            except UserError as error:
                failure = failure or Failure(str(error))
            if failure:
                rerun.failures[name] = failure
                rerun.outputs.pop(name, None)
        return rerun

    def excuse_random_stages(self, findings: Sequence[Finding], rerun: Rerun) -> list[Finding]:
        """Return the findings, those not checked of which a second run shows that they come out at random.

        The first stages that disagree are run again on the same inputs. If the outputs of one differ
        from those of its first run, neither it nor what depends on it tells anything.
        """
        import networkx as nx

        graph = self.repo.dvc.index.graph
        outside = [
            finding.stage
            for finding in findings
            if finding.verdict is Verdict.OUTSIDE
            and finding.stage in rerun.outputs
            and finding.stage not in rerun.tampering
        ]
        random: dict[str, str] = {}
        for name in outside:
            stage = self.repo.stages[name]
            before = nx.descendants(graph, stage)
            if any(self.repo.stages[earlier] in before for earlier in outside):
                continue
            path = self._random_output(name, rerun.outputs[name])
            if path:
                after = {*nx.ancestors(graph, stage), stage}
                reason = f"{name} is not deterministic: two runs here give two versions of {path}"
                names = [item for item, entry in self.repo.stages.items() if entry in after]
                random |= dict.fromkeys(names, reason)
        return [
            Finding(finding.stage, Verdict.UNCHECKED, f"{random[finding.stage]} ({finding.reason})")
            if finding.verdict is Verdict.OUTSIDE and finding.stage in random
            else finding
            for finding in findings
        ]

    def _random_output(self, name: str, first: OutputComparison) -> str:
        """Return an output of a stage that a second run makes otherwise, "" if there is none."""
        if not self.repo.stages[name].cmd or self._run_stage(name):
            return ""
        second = self.repo.compare_outputs(name)
        paths = sorted({*first.hashes, *second.hashes})
        return next(
            (path for path in paths if first.hashes.get(path) != second.hashes.get(path)), ""
        )

    def _changed_files(self, states: dict[str, State]) -> Iterator[str]:
        """Yield the files that are not as they were left; take their new state as given from now on."""
        for name, state in list(states.items()):
            state_after = self._committed_state() if name == "git" else self._output_state(name)
            if state_after != state:
                states[name] = state_after
                paths = {**state, **state_after}
                yield from (path for path in paths if state.get(path) != state_after.get(path))

    def _output_state(self, name: str) -> State:
        files: list[Path] = []
        for path in self.repo.outs(name):
            folder = self.repo.root / path
            is_folder = folder.is_dir() and not folder.is_symlink()
            files += folder.rglob("*") if is_folder else [folder]
        return self._state(files)

    def _committed_state(self) -> State:
        """Return the state of the code, and of all that stages read and none of them writes."""
        outs = {path for name in self.repo.stages for path in self.repo.outs(name)}
        deps = {
            self.repo.relative_path(dep)
            for stage in self.repo.stages.values()
            for dep in stage.deps
            if self.repo.contains(dep)
        }
        paths = {path for path in deps if not any(_is_below(path, out) for out in outs)}
        return self._state([self.repo.root / path for path in sorted(paths | self.code)])

    def _state(self, files: Sequence[Path]) -> State:
        """Return the properties of files that change with their content.

        The time of the last change of a file's properties is among them, which no program can set.
        """
        state: State = {}
        for file in files:
            if file.is_symlink() or file.is_file():
                info = file.lstat()
                values = (info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
                state[file.relative_to(self.repo.root).as_posix()] = values
        return state

    def _unavailable(self, name: str) -> str:
        """Return why a stage cannot be run again, "" if nothing is known to prevent it."""
        stage = self.repo.stages[name]
        if not stage.cmd:
            missing = self.repo.compare_outputs(name).missing
            reason = self.fetch_error or "no accessible remote has it"
            return f"{missing[0]} is not in git: {reason}" if missing else ""
        if stage.frozen:
            return "frozen: DVC does not run it again"
        return ""

    def _run_stage(self, name: str) -> Failure | None:
        stage = self.repo.stages[name]
        missing = [dep.def_path for dep in stage.deps if dep.protocol == "local" and not dep.exists]
        if missing:
            return Failure(f"{missing[0]}, which it reads, is missing")
        try:
            self.delete_outputs(name)
        except UserError as error:
            return Failure(str(error))
        folders = _scratch_folders(self.repo.root)
        environment = {**_environment(self.repo.root), "DVC_STAGE": stage.addressing}
        limits = Limits(network=self.network)
        for line in command_lines(stage):
            try:
                result = run_command(
                    Path(stage.wdir),
                    *sandboxed(shell_command(line), folders, limits),
                    extra_environment=environment,
                    seconds=self.seconds,
                )
            except TimeLimitError as error:
                return Failure(f"it was ended: {error}")
            if result.returncode:
                is_evidence_error = result.returncode == EVIDENCE_ERROR_STATUS
                contradicts = is_evidence_error and name in pipeline_stages(self.repo)
                reason = failure_reason(result.stderr, result.stdout, result.returncode)
                return Failure(f"it fails: {reason}", contradicts)
        return None

    def delete_outputs(self, name: str) -> None:
        """Delete the outputs of a stage.

        Raises:
            UserError: a stage has replaced a folder by a link that leads out of the clone.
        """
        for relative_path in self.repo.outs(name):
            path = self.repo.root / relative_path
            if not path.parent.resolve().is_relative_to(self.repo.root):
                raise UserError(
                    f"{relative_path}: a link leads out of the clone; it is not followed"
                )
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _scratch_folders(root: Path) -> list[Path]:
    """Return the folders to which a stage may write: the clone, a home and a temporary folder."""
    folders = [root, *(root.parent / name for name in (STAGES_GIT, "home", "tmp"))]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    return folders


def command_lines(stage: "Stage") -> list[str]:
    """Return the commands of a stage, one after the other."""
    return list(stage.cmd) if isinstance(stage.cmd, list) else str(stage.cmd).splitlines()


def _environment(root: Path) -> dict[str, str]:
    home = Path.home()
    caches = {
        name: os.environ.get(name, str(home / place))
        for name, place in _CACHES.items()
        if name in os.environ or (home / place).is_dir()
    }
    return {
        **caches,
        "HOME": str(root.parent / "home"),
        "TMPDIR": str(root.parent / "tmp"),
        "DVC_SITE_CACHE_DIR": str(root.parent / "tmp" / "dvc"),
        "DVC_ROOT": str(root),
        "RAY_ADDRESS": "",  # what a stage starts on a cluster would be outside the sandbox
    }
