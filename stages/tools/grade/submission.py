"""What a learner's commit holds, read from git as text of limited size: nothing of it runs."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.repositories import git_in_clone
from stages.report.review import parse_notes
from stages.tools.verify.code import CODE
from stages.tools.verify.verdicts_of_reruns import Committed

if TYPE_CHECKING:
    from stages.tools.verify.report import Report

_MAX_NOTE = 2**16  # bytes of a file that a person writes
_MAX_TABLE = 2**23


class Submission:
    """A commit of a learner, and what verifying it shows.

    Attributes:
        report: of the tiers that ran, None where there is none.
        reason: why there is none.
    """

    def __init__(self, root: Path, report: "Report | None", reason: str = "") -> None:
        self.root = root
        self.report = report
        self.reason = reason
        self._committed = Committed(root)

    def tasks(self) -> list[str]:
        """Return the tasks of which the commit has metrics, by name."""
        listing = git_in_clone(self.root, "ls-tree", "-r", "-z", "--name-only", "HEAD", "evidence/")
        paths = [path.split("/") for path in listing.split("\0")]
        return sorted(path[1] for path in paths if path[2:] == ["data", "metrics.json"])

    def notes(self, path: str) -> dict[str, str]:
        """Return what stands below each heading of a file, "" also where it came with the project.

        Raises:
            UserError: the commit has no such file, or it is too large to be notes.
        """
        notes = parse_notes(self._read(path, _MAX_NOTE))
        original = CODE / path
        before = parse_notes(original.read_text(encoding="utf-8")) if original.is_file() else {}
        return {head: "" if text == before.get(head) else text for head, text in notes.items()}

    def experiments(self, task: str) -> list[dict[str, str]]:
        """Return the rows of a task's log of experiments without those that came with the project."""
        from stages.evaluation.experiment_log import LOG

        path = f"evidence/{task}/{LOG}"
        original = CODE / path
        before = _rows(original.read_text(encoding="utf-8")) if original.is_file() else []
        keys = {_key(row) for row in before}
        return [row for row in self.table(path) if _key(row) not in keys]

    def table(self, path: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file, none where it is missing or damaged."""
        try:
            return _rows(self._read(path, _MAX_TABLE))
        except (UserError, csv.Error):
            return []

    def json(self, path: str) -> Any:
        """Return the content of a JSON file, None where it is missing or damaged."""
        try:
            return json.loads(self._read(path, _MAX_TABLE))
        except (UserError, ValueError, RecursionError):
            return None

    def is_unchanged(self, path: str) -> bool:
        """Return whether a file is the one that this project has."""
        original = CODE / path
        try:
            text = self._read(path, _MAX_TABLE)
        except UserError:
            return False
        return original.is_file() and original.read_text(encoding="utf-8").strip() == text

    def _read(self, path: str, limit: int) -> str:
        """Return the text of a file, without blanks at its ends.

        Raises:
            UserError: the commit has no such file, or it has more than `limit` bytes.
        """
        try:
            size = int(git_in_clone(self.root, "cat-file", "-s", f"HEAD:{path}"))
        except UserError:
            raise UserError(f"{path} is not in git") from None
        if size > limit:
            raise UserError(f"{path} has {size:,} bytes; no more than {limit:,} are read")
        return self._committed.read(path)


def _rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV text; a cell that is missing is "".

    Raises:
        csv.Error: it is no CSV.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    return [{str(key): str(value) for key, value in row.items()} for row in rows]


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in ("date", "change", "before", "after", "verdict"))
