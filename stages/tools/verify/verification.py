"""Verifying a revision: clone it, inspect it, run it again, report."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.core.processes import scratch_folder
from stages.core.repositories import clone_revision, count_changes, resolve_revision
from stages.tools.tolerance import FILE as TOLERANCE
from stages.tools.tolerance import Tolerance
from stages.tools.verify import machines, sandbox
from stages.tools.verify.figures import coverage
from stages.tools.verify.inspection import Inspection, inspect_clone
from stages.tools.verify.report import TIERS, Report, Tier

if TYPE_CHECKING:
    from stages.tools.verify.rerun import Storage

CHEAP_TIERS = ("hashes", "metrics")
_UNPACKED = "archive"  # beside the clone: the repository of an archive
_CHEAP_SECONDS = 300  # for the cheap tiers together
Approval = Callable[[str], bool]
Inspect = Callable[[Path, Report], None]


def verify(
    source: str,
    revision: str,
    *,
    last: str = TIERS[-1],
    only: Sequence[str] = (),
    remote: str = "",
    tolerance: float = 0.0,
    base: str = "",
    network: bool = False,
    seconds: float | None = None,
    approve: Approval = lambda _: True,
    inspect: Inspect | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Verify a revision in a clean clone, which is deleted afterwards.

    Args:
        source: the path or URL of a git repository with DVC, or an archive that `evidence archive` has
            written.
        revision: a full hash, a tag or a branch; of an archive HEAD.
        last: the last tier to run.
        only: stages or tasks (`image`) to report on; all by default.
        remote: the DVC remote to take weights and data from; "" for this machine's cache of `source`, or
            the repository's default remote.
        tolerance: by which metrics may differ where the repository has no measured tolerance.
        base: a revision of the same repository whose code is trusted; "" for the project that verifies.
        network: whether stages that are run again may use the network.
        seconds: after which a stage, and the cheap tiers together, are ended.
        approve: is asked, with the reason, before code that is not trusted is run.
        inspect: is called with the clone and the report before the clone is deleted.
        progress: is called with a line when a tier starts.

    Raises:
        UserError: there is nothing that could be verified.
    """
    from stages.tools.verify import rerun

    start = time.perf_counter()
    with scratch_folder() as folder:
        root = folder / "clone"
        origin = _unpacked(source, folder)
        commit = _clone(origin, revision, root)
        trusted = _resolve_base(origin, base, root)
        rerun.configure_cache(root)
        cache = "" if remote or last == "hashes" else rerun.local_cache(origin)
        storage = rerun.Storage(remote, cache)
        tiers = CHEAP_TIERS[: 1 + (last != "hashes")]
        progress(f"{' and '.join(tiers)}, without running code of the revision ...")
        inspection = _inspect_files(root, storage, tiers, only, trusted, seconds or _CHEAP_SECONDS)
        report = _report(_public_name(source), commit, last, root, inspection)
        report.name, report.base, report.origin = revision, base, origin
        report.notes += _notes(origin, commit, root)
        report.tiers[0].seconds += time.perf_counter() - start - report.seconds()  # of the clone
        if last not in CHEAP_TIERS:
            _run_again(report, root, storage, only, tolerance, seconds, network, approve, progress)
        report.coverage = coverage(inspection.figures, report.run_again())
        if inspect:
            inspect(root, report)
        return report


def _clone(source: str, revision: str, root: Path) -> str:
    commit = clone_revision(source, revision, root)
    if not (root / ".dvc").is_dir():
        raise UserError("no DVC repository: the revision has no folder .dvc")
    return commit


def _inspect_files(
    root: Path,
    storage: "Storage",
    tiers: Sequence[str],
    only: Sequence[str],
    trusted: str,
    seconds: float,
) -> Inspection:
    """Run the cheap tiers, with the data that DVC tracks where they can be fetched."""
    if len(tiers) > 1 and any(path.is_file() for path in root.rglob("*.dvc")):
        inspect_clone(root, tiers[:1], only, trusted, seconds)  # before DVC reads it here
        _pull_sources(root, storage)
    return inspect_clone(root, tiers, only, trusted, seconds)


def _unpacked(source: str, folder: Path) -> str:
    """Return a source as it is; of an archive the repository into which it is unpacked."""
    if not Path(source).is_file():
        return source
    from stages.tools.archive.unpack import unpack

    repository, _ = unpack(Path(source), folder / _UNPACKED)
    return str(repository)


def _report(name: str, commit: str, last: str, root: Path, inspection: Inspection) -> Report:
    recorded = machines.read_machines(root, inspection.tasks)
    report = Report(name, commit, last, recorded)
    report.tiers = [
        Tier(name, inspection.seconds[name], findings)
        for name, findings in inspection.tiers.items()
    ]
    report.code, report.remarks = inspection.code, inspection.remarks
    report.notes = [*inspection.notes, *recorded.notes]
    return report


def _resolve_base(source: str, base: str, clone: Path) -> str:
    if not base:
        return ""
    if Path(source).is_dir():
        return resolve_revision(Path(source), base)
    return resolve_revision(clone, base, heads="refs/remotes/origin/")


def _pull_sources(root: Path, storage: "Storage") -> None:
    from stages.tools.verify import rerun
    from stages.tools.verify.lock import LockedRepo

    rerun.pull_sources(LockedRepo.read(root), storage)


def _run_again(
    report: Report,
    root: Path,
    storage: "Storage",
    only: Sequence[str],
    tolerance: float,
    seconds: float | None,
    network: bool,  # noqa: FBT001 (every argument is needed)
    approve: Approval,
    progress: Callable[[str], None],
) -> None:
    """Run the tiers that run the revision's code, and add them to the report."""
    from stages.tools.verify import rerun
    from stages.tools.verify.lock import LockedRepo
    from stages.tools.verify.pipeline import verifiable_tasks
    from stages.tools.verify.running import Runner
    from stages.tools.verify.verdicts_of_reruns import RerunComparison

    report.unprotected = sandbox.missing_protection()
    if report.code and not approve(_warning(report)):
        report.notes.append("tiers predictions and retrain were not run: they run its own code")
        return
    rerun.reset_clone(root)
    repo = LockedRepo.read(root, only)
    tasks = verifiable_tasks(repo)
    measured, doubts = _read_tolerance(root, tasks, tolerance)
    report.notes += doubts
    comparison = RerunComparison(repo, measured, report.machines)
    is_own_code = not report.code and not report.base
    runner = Runner(repo, frozenset(code_paths(root)), network, seconds, is_own_code)
    functions = {"predictions": rerun.rerun_from_weights, "retrain": rerun.rerun_everything}
    for tier in TIERS[len(CHEAP_TIERS) : TIERS.index(report.requested) + 1]:
        if tier == "predictions" and not tasks:
            continue
        progress(f"{tier} ...")
        start = time.perf_counter()
        findings = functions[tier](repo, comparison, storage, runner)
        requested = [finding for finding in findings if finding.stage in repo.requested]
        report.tiers.append(Tier(tier, time.perf_counter() - start, requested))


def code_paths(root: Path) -> list[str]:
    """Return the paths of the code of a clone."""
    from stages.tools.verify.code import code_files

    return list(code_files(root))


def _warning(report: Report) -> str:
    count, names = len(report.code), ", ".join(item.path for item in report.code[:3])
    trusted = f"those of {report.base}" if report.base else "this verifier's"
    confined = "; ".join(report.unprotected) or "it has no network and can write to the clone only"
    return (
        f"predictions and retrain run code of the revision; {count} files differ from {trusted} "
        f"({names}{', ...' if count > len(report.code[:3]) else ''}). Here {confined}"
    )


def _public_name(source: str) -> str:
    """Return a URL without credentials, and of a path the last part only: a report may be published."""
    if Path(source).exists():
        return Path(source).resolve().name
    return re.sub(r"(?<=://)[^/@]*@", "", source)


def _read_tolerance(
    root: Path, tasks: Sequence[str], default: float
) -> tuple[Tolerance, list[str]]:
    """Return the committed tolerance, 0 for tasks of which it was not measured; and the notes on these."""
    try:
        tolerance = Tolerance.read(root / TOLERANCE, default)
    except UserError as error:
        return Tolerance(default=default), [f"{error}; it excuses nothing"]
    notes = []
    for task in tasks:
        with suppress(UserError):  # the tier metrics reports it
            metrics = read_json(root / "evidence" / task / "data" / "metrics.json")
            if not tolerance.belongs_to(task, metrics):
                tolerance = tolerance.without(task)
                notes.append(
                    f"{TOLERANCE} was measured of other metrics of {task}; it excuses nothing there"
                )
    return tolerance, notes


def _notes(source: str, commit: str, root: Path) -> list[str]:
    if not Path(source).is_dir():
        return []
    with suppress(UserError):  # a bare repository has no work tree
        count = count_changes(Path(source), root)
        if count:
            return [f"{count} uncommitted changes are not checked; {commit[:10]} is"]
    return []
