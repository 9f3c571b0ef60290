"""The tiers hashes and metrics: all that reads a stranger's files without running a stranger's code.

They run in a process of their own: Python in isolated mode, with this project's code alone on its path,
in the sandbox, within limits of time and memory. The result comes back as JSON.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stages.core.errors import UserError, printable
from stages.core.processes import TimeLimitError, last_line, run_command
from stages.tools.verify.code import CodeDifference
from stages.tools.verify.figures import FigureFile
from stages.tools.verify.isolation import isolated_command
from stages.tools.verify.sandbox import Limits, sandboxed
from stages.tools.verify.verdicts import Finding, Verdict

_MEMORY = 8 * 2**30  # bytes of private memory
_KILLED = 128  # above this status: the number of a signal, added
_MODULE = "stages.tools.verify.inspection"


@dataclass
class Inspection:
    """What reading a revision shows.

    Attributes:
        tiers: the findings by tier.
        seconds: by tier.
        tasks: that can be recomputed.
        code: the files in which its code differs.
        remarks: choices that a reader should look at.
        figures: the files of its packs that state figures.
        notes: what was left out.
    """

    tiers: dict[str, list[Finding]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)
    code: list[CodeDifference] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    figures: list[FigureFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Return it as JSON; `from_json` reads it back."""
        content = asdict(self)
        content["tiers"] = {
            tier: [finding.data() for finding in findings] for tier, findings in self.tiers.items()
        }
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> "Inspection":
        """Return the inspection that `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        content["tiers"] = {
            tier: [Finding.from_data(finding) for finding in findings]
            for tier, findings in content["tiers"].items()
        }
        content["code"] = [CodeDifference(**entry) for entry in content["code"]]
        content["figures"] = [FigureFile(**entry) for entry in content["figures"]]
        return cls(**content)


def inspect_clone(
    root: Path, tiers: Sequence[str], only: Sequence[str], base: str, seconds: float
) -> Inspection:
    """Run the cheap tiers on a clone, in a process of their own.

    Args:
        root: the clone. Its code is deleted after the tier hashes.
        tiers: "hashes", or that and "metrics".
        only: stages or tasks to report on; none for all.
        base: a commit of the clone whose code is trusted; "" for the project that verifies.
        seconds: after which the process is ended.

    Raises:
        UserError: the revision cannot be read, or not within the limits.
    """
    scratch = root.parent
    arguments = json.dumps([str(root), list(tiers), list(only), base])
    command = isolated_command(_MODULE, arguments)
    limits = Limits(_MEMORY, int(seconds) + 1)
    environment = {"HOME": str(scratch), "TMPDIR": str(scratch), "DVC_SITE_CACHE_DIR": str(scratch)}
    limit = f"reading this revision took more than {seconds:g} s or {_MEMORY >> 30} GB of memory"
    try:
        result = run_command(
            scratch,
            *sandboxed(command, [scratch], limits),
            extra_environment=environment,
            seconds=seconds,
        )
    except TimeLimitError:
        raise UserError(f"{limit}: nothing was checked") from None
    if result.returncode == 0:
        return Inspection.from_json(result.stdout)
    line = last_line(result.stderr)
    if result.returncode == UserError.status:
        raise UserError(line)
    if "MemoryError" in line or result.returncode > _KILLED:
        raise UserError(f"{limit}: nothing was checked")
    raise UserError(f"this revision cannot be read: {line}")


def main() -> None:
    """Run the tiers that the arguments name, and print the inspection."""
    root, tiers, only, base = json.loads(sys.argv[1])
    try:
        print(_inspect(Path(root), tiers, only, base).to_json())
    except UserError as error:
        print(printable(str(error)), file=sys.stderr)
        sys.exit(error.status)
    except RecursionError:
        print("its files are nested too deeply", file=sys.stderr)
        sys.exit(UserError.status)


def _inspect(root: Path, tiers: Sequence[str], only: Sequence[str], base: str) -> Inspection:
    from stages.core import runtime
    from stages.tools.verify import code, lock, lock_checks, pipeline, recompute
    from stages.tools.verify.remarks import remarks

    start = time.perf_counter()
    tasks, problem = None, ""
    try:
        tasks = pipeline.tasks_of(root)
    except UserError as error:
        problem = f"the params do not fit this verifier: {error}"
    else:
        runtime.pin_threads(next(iter(tasks.values())).runtime)  # before numpy is imported
    repo = lock.LockedRepo.read(root, only)
    inspection = Inspection(code=code.code_differences(root, base))
    inspection.tasks = pipeline.verifiable_tasks(repo)
    is_own = pipeline.is_of_this_project(repo)
    # Commands first: of many disagreements of a stage, a terminal shows the first ones.
    findings = pipeline.check_commands(repo) if is_own else []
    findings += lock_checks.check_lock(repo)
    inspection.remarks = remarks(repo, tasks)
    if is_own:
        findings += pipeline.check_hash_kinds(repo)
        findings += pipeline.check_reproductions(repo)
        findings += pipeline.check_completeness(repo, tasks)
    inspection.tiers["hashes"] = findings
    inspection.seconds["hashes"] = time.perf_counter() - start
    if "metrics" in tiers and inspection.tasks:
        start = time.perf_counter()
        # Of a base, only the differences from it are known, not those from this project.
        same_code = not (code.code_differences(root) if base else inspection.code)
        code.delete_code(root)
        if tasks is None:
            findings = [Finding(name, Verdict.UNCHECKED, problem) for name in repo.stages]
        else:
            findings, inspection.figures = recompute.recompute_metrics(
                repo, tasks, same_code=same_code
            )
        inspection.tiers["metrics"] = findings
        inspection.seconds["metrics"] = time.perf_counter() - start
    elif not inspection.tasks:
        inspection.notes.append(
            "no evidence pack of this project: tiers metrics and predictions are left out"
        )
    inspection.notes += _outside_dependencies(repo)
    for tier, findings in inspection.tiers.items():
        inspection.tiers[tier] = [item for item in findings if repo.is_requested(item.stage)]
    return inspection


def _outside_dependencies(repo: Any) -> list[str]:
    return [
        f"{name} reads {dep.def_path}, which is outside the repository"
        for name, stage in repo.stages.items()
        for dep in stage.deps
        if dep.protocol == "local" and not repo.contains(dep)
    ]
