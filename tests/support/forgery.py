"""What a forger does to a repository, and what verify reports of it."""

import contextlib
from collections import defaultdict
from pathlib import Path

from dvc.repo import Repo

from stages.tools.verify.report import Report
from stages.tools.verify.verdicts import Verdict


def replace(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text, which must be there, in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def relock(folder: Path) -> None:
    """Write the hashes of all files as they are now into dvc.lock, as `dvc commit --force` does."""
    with contextlib.chdir(folder), Repo() as repo:
        repo.commit(force=True)


def outside(report: Report, tier: str) -> dict[str, list[str]]:
    """Return by stage what disagrees according to a tier."""
    reasons = defaultdict(list)
    findings = [
        finding for entry in report.tiers if entry.name == tier for finding in entry.findings
    ]
    for finding in findings:
        if finding.verdict is Verdict.OUTSIDE:
            reasons[finding.stage].append(finding.reason)
    return dict(reasons)
