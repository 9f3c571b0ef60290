"""Verify: from a clean clone, say whether a committed result can be believed, stage by stage.

`python -m stages.verify [REV]` verifies a revision of this repository, `--repo` another one. Four tiers,
cheapest first: hashes (files, dvc.lock, dvc.yaml, params), metrics (computed again from the predictions
in git), predictions (from the weights), retrain (everything, forced). This work tree, its lock, cache and
refs are not touched. Exit status: 0 nothing disagrees, 1 something does, 2 something could not be checked.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.shared.files import as_json, read_json, write
from stages.shared.refusal import Refusal, refusing
from stages.shared.verifying.band import FILE as BAND
from stages.shared.verifying.band import Band
from stages.shared.verifying.report import TIERS, Report, Tier, document, table
from stages.shared.verifying.scratch import cloned, git, scratch

if TYPE_CHECKING:
    from stages.shared.verifying.locked import Locked
    from stages.shared.verifying.verdicts import Finding

KINDS = ("json", "markdown", "page")


def verify(
    source: str,
    revision: str,
    *,
    last: str = TIERS[-1],
    only: Sequence[str] = (),
    remote: str = "",
    tolerance: float = 0.0,
    said: Callable[[str], None] = lambda _: None,
) -> Report:
    """Verify a revision in a clean clone, which is gone afterwards.

    Args:
        source: the path or URL of a git repository with DVC.
        revision: as git names it.
        last: the dearest tier to run.
        only: stages, or rows (`image`), to hold to; all where empty.
        remote: the DVC remote to take weights and data from; "" for this machine's cache of `source`,
            or the repository's default remote.
        tolerance: by which metrics may differ where the repository has no measured band.
        said: is told what is going on.

    Raises:
        Refusal: there is nothing that could be verified.
    """
    from stages.shared.verifying import locked, recomputed, rerun

    start = time.perf_counter()
    with scratch() as folder:
        commit = cloned(source, revision, folder / "clone")
        local = Path(source)  # its name alone: a report may be published
        report = Report(local.resolve().name if local.is_dir() else source, commit, last)
        root = folder / "clone"
        rerun.settled(root)
        found = locked.Locked.read(root, only)
        grid = recomputed.rows(found)
        cache = "" if remote else rerun.cache_of(source)
        report.machines = _machines(root, grid)
        report.notes += _notes(source, commit, found, grid)
        band, doubts = _band(root, grid, tolerance)
        report.notes += doubts
        if grid and last != "hashes":
            rerun.sourced(found, remote, cache)
        everything: dict[str, Callable[[], list[Finding]]] = {
            "hashes": lambda: [
                *locked.findings(found),
                *(recomputed.of_grid(found) if grid else []),
            ],
            "metrics": lambda: recomputed.findings(found),
            "predictions": lambda: rerun.from_weights(found, band, remote, cache),
            "retrain": lambda: rerun.from_nothing(found, band, remote, cache),
        }
        for name in TIERS[: TIERS.index(last) + 1]:
            if not grid and name in {"metrics", "predictions"}:
                continue
            said(f"{name} ...")
            findings = [one for one in everything[name]() if one.stage in found.asked]
            now = time.perf_counter()  # the first tier's cost is that of the clone too
            report.tiers.append(Tier(name, now - start, findings))
            start = now
        return report


def _machines(root: Path, grid: Sequence[str]) -> dict[str, Any]:
    from stages.params import FILE, load
    from stages.shared.runtime import machine, machine_here

    there = {}
    # What is wrong with a pack or with params is for the tiers to say.
    for row in grid:
        with suppress(Refusal, TypeError, ValueError):
            there[row] = dict(read_json(_data(root, row) / "machine.json"))
    here = machine_here()
    with suppress(Refusal):
        here = machine(load(root / FILE).runtime) if grid else here
    return {"here": here, **there}


def _data(root: Path, row: str) -> Path:
    return root / "evidence" / row / "data"


def _band(root: Path, grid: Sequence[str], tolerance: float) -> tuple[Band, list[str]]:
    """Return the committed band, without the rows whose figures it is not of; and why they are left out."""
    try:
        band = Band.read(root / BAND, tolerance)
    except Refusal as refusal:
        return Band(tolerance=tolerance), [f"{refusal}; it excuses nothing"]
    rows, doubts = dict(band.rows), []
    for row in grid:
        with suppress(Refusal):
            if not band.is_of(row, read_json(_data(root, row) / "metrics.json")):
                rows[row] = {}
                doubts.append(
                    f"{BAND} was measured of other figures of {row}; it excuses nothing there"
                )
    return Band(rows, tolerance), doubts


def _notes(source: str, commit: str, found: "Locked", grid: Sequence[str]) -> list[str]:
    notes = []
    if Path(source).is_dir():
        changed = git(Path(source), "status", "--porcelain")
        if changed:
            count = len(changed.split("\n"))
            notes.append(f"{count} uncommitted changes are not looked at; {commit[:10]} is")
    if not grid:
        notes.append("no evidence pack of this project: tiers metrics and predictions are left out")
    outside = [
        f"{name} reads {dep.def_path}"
        for name, stage in found.stages.items()
        for dep in stage.deps
        if dep.protocol == "local" and not Path(dep.fs_path).is_relative_to(found.root)
    ]
    notes += [f"{one}, which lies outside the repository" for one in outside]
    return notes


def main() -> None:
    """Verify, print the table, write what is asked for, and exit with the status."""
    parser = argparse.ArgumentParser(prog="python -m stages.verify", description=__doc__)
    parser.add_argument("revision", nargs="?", default="HEAD", help="default: HEAD")
    parser.add_argument(
        "--repo", default=".", help="path or URL of a git repository with DVC (default: .)"
    )
    parser.add_argument("--tier", choices=TIERS, default=TIERS[-1], help="the dearest one to run")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="stages, or rows (image)"
    )
    parser.add_argument("--remote", default="", help="DVC remote to take weights and data from")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="for metrics of a repository without a band"
    )
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}", type=Path, metavar="FILE", help=f"write the report as {kind}"
        )
    given = parser.parse_args()
    with refusing("verify"):
        if not 0 <= given.tolerance < math.inf:
            raise Refusal(f"--tolerance: given {given.tolerance:g}; must be a number, 0 or more")
        wanted = {kind: path for kind in KINDS if (path := getattr(given, kind))}
        for kind, path in wanted.items():  # now, not after minutes of work
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise Refusal(f"--{kind}: given {path}; must be a file in a folder that is there")
        report = verify(
            given.repo,
            given.revision,
            last=given.tier,
            only=given.only,
            remote=given.remote,
            tolerance=given.tolerance,
            said=lambda line: print(f"verify: {line}", file=sys.stderr),
        )
        from stages.shared.document import markdown, page

        print(table(report))
        made: dict[str, Callable[[], str | bytes]] = {
            "json": lambda: as_json(report.data()),
            "markdown": lambda: markdown(document(report)),
            "page": lambda: page(document(report), 5),
        }
        for kind, path in wanted.items():
            try:
                write(path, made[kind]())
            except OSError as error:
                raise Refusal(f"--{kind}: {path}: {error.strerror}") from None
    raise SystemExit(report.status())


if __name__ == "__main__":
    main()
