"""Check from a clean clone whether a committed result can be believed, stage by stage.

Four tiers, cheapest first: hashes (files, dvc.lock, dvc.yaml, params), metrics (computed again from the
predictions in git), predictions (from the weights), retrain (everything). The work tree, its lock, cache
and refs are not touched. Exit status: 0 nothing disagrees, 1 something does, 2 something could not be
checked.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_json, to_json, write
from stages.core.processes import clone_revision, git, scratch_folder
from stages.tools.tolerance import FILE as TOLERANCE
from stages.tools.tolerance import Tolerance
from stages.tools.verify.report import TIERS, Report, Tier, document, table

if TYPE_CHECKING:
    from stages.tools.verify.lock import LockedRepo
    from stages.tools.verify.verdicts import Finding

FORMATS = ("json", "markdown", "page")
_PAGE_LIMIT_MB = 5


def verify(
    source: str,
    revision: str,
    *,
    last: str = TIERS[-1],
    only: Sequence[str] = (),
    remote: str = "",
    tolerance: float = 0.0,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Verify a revision in a clean clone, which is deleted afterwards.

    Args:
        source: the path or URL of a git repository with DVC.
        revision: as git names it.
        last: the last tier to run.
        only: stages or tasks (`image`) to report on; all by default.
        remote: the DVC remote to take weights and data from; "" for this machine's cache of `source`, or
            the repository's default remote.
        tolerance: by which metrics may differ where the repository has no measured tolerance.
        progress: is called with a line when a tier starts.

    Raises:
        UserError: there is nothing that could be verified.
    """
    from stages.tools.verify import lock, machines, pipeline, recompute, rerun
    from stages.tools.verify.verdicts_of_reruns import RerunComparison

    start = time.perf_counter()
    with scratch_folder() as folder:
        root = folder / "clone"
        commit = clone_revision(source, revision, root)
        if not (root / ".dvc").is_dir():
            raise UserError("no DVC repository: the revision has no folder .dvc")
        rerun.configure_cache(root)
        repo = lock.LockedRepo.read(root, only)
        tasks = pipeline.verifiable_tasks(repo)
        cache = "" if remote or last == "hashes" else rerun.local_cache(source)
        storage = rerun.Storage(remote, cache)
        report = Report(_public_name(source), commit, last, machines.read_machines(root, tasks))
        measured, doubts = _read_tolerance(root, tasks, tolerance)
        report.notes += [*_notes(source, commit, repo, tasks), *doubts, *report.machines.notes]
        comparison = RerunComparison(repo, measured, report.machines)
        if tasks and last != "hashes":
            rerun.pull_sources(repo, storage)
        tiers: dict[str, Callable[[], list[Finding]]] = {
            "hashes": lambda: [*lock.check_lock(repo), *pipeline.check_commands(repo)],
            "metrics": lambda: recompute.recompute_metrics(repo),
            "predictions": lambda: rerun.rerun_from_weights(repo, comparison, storage),
            "retrain": lambda: rerun.rerun_everything(repo, comparison, storage),
        }
        for tier in TIERS[: TIERS.index(last) + 1]:
            if not tasks and tier in {"metrics", "predictions"}:
                continue
            progress(f"{tier} ...")
            findings = [finding for finding in tiers[tier]() if finding.stage in repo.requested]
            end = time.perf_counter()  # the first tier includes the clone
            report.tiers.append(Tier(tier, end - start, findings))
            start = end
        return report


def _public_name(source: str) -> str:
    """Return a URL as it is, and of a path the last part only: a report may be published."""
    return Path(source).resolve().name if Path(source).is_dir() else source


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


def _notes(source: str, commit: str, repo: "LockedRepo", tasks: Sequence[str]) -> list[str]:
    notes = []
    if Path(source).is_dir():
        changes = git(Path(source), "status", "--porcelain")
        if changes:
            count = len(changes.split("\n"))
            notes.append(f"{count} uncommitted changes are not checked; {commit[:10]} is")
    if not tasks:
        notes.append("no evidence pack of this project: tiers metrics and predictions are left out")
    notes += [
        f"{name} reads {dep.def_path}, which is outside the repository"
        for name, stage in repo.stages.items()
        for dep in stage.deps
        if dep.protocol == "local" and not repo.contains(dep)
    ]
    return notes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("revision", nargs="?", default="HEAD", help="default: HEAD")
    parser.add_argument(
        "--repo", default=".", help="path or URL of a git repository with DVC (default: .)"
    )
    parser.add_argument("--tier", choices=TIERS, default=TIERS[-1], help="the last one to run")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="stages, or tasks (image)"
    )
    parser.add_argument("--remote", default="", help="DVC remote to take weights and data from")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="for the metrics of a repository without a measured tolerance",
    )
    for form in FORMATS:
        parser.add_argument(
            f"--{form}", type=Path, metavar="FILE", help=f"write the report as {form}"
        )


def run(arguments: argparse.Namespace) -> int:
    """Verify, print the table and write the reports; return the exit status."""
    if not 0 <= arguments.tolerance < math.inf:
        raise UserError(f"--tolerance: given {arguments.tolerance:g}; must be a number, 0 or more")
    paths: dict[str, Path] = {
        form: path for form in FORMATS if (path := getattr(arguments, form)) is not None
    }
    for form, path in paths.items():  # before minutes of work
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UserError(f"--{form}: given {path}; must be a file in an existing folder")
    report = verify(
        arguments.repo,
        arguments.revision,
        last=arguments.tier,
        only=arguments.only,
        remote=arguments.remote,
        tolerance=arguments.tolerance,
        progress=lambda line: print(f"verify: {line}", file=sys.stderr),
    )
    print(table(report))
    for form, path in paths.items():
        try:
            write(path, _render(report, form))
        except OSError as error:
            raise UserError(f"--{form}: {path}: {error.strerror}") from None
    return report.status()


def _render(report: Report, form: str) -> str | bytes:
    from stages.report.rendering import render_markdown, render_page

    if form == "json":
        return to_json(report.data())
    content = document(report)
    return render_markdown(content) if form == "markdown" else render_page(content, _PAGE_LIMIT_MB)
