"""Stages of a clone whose code is this verifier's own, byte for byte, run side by side.

All of them run in one process in the sandbox, which takes its code from this project and from the clone
nothing but data. No stage has to be watched: what each one does is known.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.core.errors import UserError
from stages.core.files import to_json, write
from stages.core.processes import last_line, run_command
from stages.tools.repro.reproduce import Outcome, RunningStage, reproduce
from stages.tools.verify.isolation import isolated_command
from stages.tools.verify.sandbox import Limits, sandboxed

_MODULE = "stages.tools.verify.trusted_code"


@dataclass(frozen=True)
class TrustedStage:
    """A stage to run.

    Attributes:
        commands: one after the other.
        dependencies: the names of the stages that must end before.
        environment: variables to set.
    """

    commands: list[str]
    dependencies: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class TrustedFailure:
    """Why a stage did not run to its end.

    Attributes:
        status: its exit status; 0 for one that depends on another failure.
        output: what it printed.
    """

    status: int
    output: str


def run_side_by_side(
    root: Path,
    stages: Mapping[str, TrustedStage],
    writable: Sequence[Path],
    environment: Mapping[str, str],
    *,
    network: bool = False,
) -> dict[str, TrustedFailure]:
    """Run stages in a clone; return those that failed, with what depends on them.

    Args:
        root: the clone, with the outputs of the stages deleted.
        stages: by name, in the order in which `dvc repro` would run them.
        writable: the folders to which stages may write.
        environment: variables of all stages.
        network: whether stages may use the network.

    Raises:
        UserError: the process that runs them ended early.
    """
    request, answer = root.parent / "tmp" / "request.json", root.parent / "tmp" / "answer.json"
    write(request, to_json({name: asdict(stage) for name, stage in stages.items()}))
    answer.unlink(missing_ok=True)
    result = run_command(
        root,
        *sandboxed(
            isolated_command(_MODULE, str(request), str(answer)), writable, Limits(network=network)
        ),
        extra_environment=environment,
    )
    if result.returncode:
        raise UserError(f"stages cannot be run side by side: {last_line(result.stderr)}")
    content = json.loads(answer.read_text(encoding="utf-8"))
    return {name: TrustedFailure(**failure) for name, failure in content.items()}


class _CloneSteps:
    """The stages of a request, none of which has run."""

    def __init__(self, stages: Mapping[str, TrustedStage]) -> None:
        self._stages = stages
        self.dependencies = {
            name: {*stage.dependencies} & stages.keys() for name, stage in stages.items()
        }

    def is_changed(self, name: str) -> bool:
        return name in self._stages

    def begin(self, name: str, *, force: bool) -> bool:  # noqa: ARG002 (of the protocol)
        return bool(self._stages[name].commands)

    def finish(self, name: str) -> None:
        """Do nothing: the verifier compares all outputs at the end."""

    def commands(self, name: str) -> list[str]:
        return self._stages[name].commands

    def folder(self, name: str) -> Path:  # noqa: ARG002 (of the protocol)
        return Path.cwd()

    def environment(self, name: str) -> dict[str, str]:
        return self._stages[name].environment


class _OutputKeeper:
    """Keeps what stages printed that failed."""

    def __init__(self) -> None:
        self.output: dict[str, str] = {}

    def running(self, stages: Iterable[RunningStage]) -> None:
        """Show nothing."""

    def finished(self, name: str, ending: str, log: Path | None) -> None:
        """Keep nothing."""

    def failed(self, name: str, reason: str, log: Path) -> None:
        """Keep what a stage printed."""
        self.output[name] = log.read_text(encoding="utf-8", errors="replace") or reason


def main() -> None:
    """Run the stages of the request that the command line names, and write the failures."""
    from stages.core import runtime
    from stages.kinds.params import load_params
    from stages.tools.repro.command import default_jobs
    from stages.tools.repro.seconds import expected_seconds

    request, answer = map(Path, sys.argv[1:])
    content = json.loads(request.read_text(encoding="utf-8"))
    stages = {name: TrustedStage(**stage) for name, stage in content.items()}
    runtime.pin_threads(load_params().runtime)
    keeper = _OutputKeeper()
    steps, seconds = _CloneSteps(stages), expected_seconds(stages)
    outcome = reproduce(steps, default_jobs(), seconds, keeper)
    write(answer, to_json(_failures(outcome, keeper.output)))


def _failures(outcome: Outcome, output: Mapping[str, str]) -> dict[str, dict[str, object]]:
    failures = {
        name: TrustedFailure(status, output[name]) for name, status in outcome.failures.items()
    }
    first = next(iter(failures), "")
    reason = f"{first}, on which it depends, was not run"
    skipped = {name: TrustedFailure(0, reason) for name in outcome.skipped}
    return {name: asdict(failure) for name, failure in {**failures, **skipped}.items()}
