"""Grade one submission, in a process of its own: clone it, verify it, hold it against the rubric.

A learner's repository may hang, or have a file that no memory holds; only this process ends then.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.core.errors import UserError, one_line
from stages.core.files import to_json, write
from stages.core.processes import scratch_folder
from stages.core.repositories import clone_revision, git, git_in_clone
from stages.tools.grade.checks import grade
from stages.tools.grade.rows import Row
from stages.tools.grade.rubric import Rubric, read_rubric
from stages.tools.grade.submission import Submission
from stages.tools.verify.report import Report
from stages.tools.verify.verification import verify


def grade_source(
    source: str, revision: str, rubric: Rubric, tier: str, *, code: bool, network: bool, remote: str
) -> dict[str, Any]:
    """Return what a rubric gives a submission, as JSON takes it.

    Args:
        source: the path or URL of a git repository, or an archive that `evidence archive` has written.
        revision: of it.
        rubric: against which it is held.
        tier: the last tier of verify.
        code: whether to run code of the submission that differs from this project's.
        network: whether that code may use the network.
        remote: the DVC remote for weights and data, "" for the submission's own.

    Raises:
        UserError: it cannot be read.
    """
    with scratch_folder() as folder:
        root = folder / "clone"
        origin = _repository(source, folder)
        commit = clone_revision(origin, revision, root)
        submission = Submission(root, None)
        tasks = [task for task in rubric.tasks() if task in submission.tasks()]
        if not tasks:
            names = ", ".join(submission.tasks()) or "none"
            submission.reason = f"no evidence of {', '.join(rubric.tasks())} (it has: {names})"
            return _content(submission, commit, grade(rubric, submission))
        rows: list[Row] = []

        def inspect(verified: Path, report: Report) -> None:
            rows.extend(grade(rubric, Submission(verified, report)))

        try:
            submission.report = verify(
                origin if Path(origin).is_dir() else f"{root}.git",  # which a URL is cloned into
                commit,
                last=tier,
                only=tasks,
                remote=remote,
                network=network,
                approve=lambda _: code,
                inspect=inspect,
            )
        except UserError as error:
            submission.reason = one_line(str(error))
            rows = grade(rubric, submission)
        return _content(submission, commit, rows)


def _repository(source: str, folder: Path) -> str:
    """Return a source as it is; of an archive the repository into which it is unpacked.

    Raises:
        UserError: it is a folder within a repository, whose commits are somebody else's.
    """
    path = Path(source)
    if path.is_file():
        from stages.tools.archive.unpack import unpack

        return str(unpack(path, folder / "archive")[0])
    if path.is_dir():
        inner = Path(git(path, "rev-parse", "--absolute-git-dir"))
        if path.resolve() not in {inner.resolve(), inner.resolve().parent} and (
            git(path, "rev-parse", "--show-prefix")
        ):
            raise UserError("a folder within another git repository, and no clone of its own")
    return source


def _content(submission: Submission, commit: str, rows: list[Row]) -> dict[str, Any]:
    report = submission.report
    line = report.line() if report else f"not verified: {submission.reason}"
    remarks = [*report.summary()[2:], *report.notes] if report else []
    return {
        "line": one_line(line),
        "revision": commit,
        "date": git_in_clone(submission.root, "show", "-s", "--format=%cs", "HEAD"),
        "remarks": [one_line(remark) for remark in remarks],
        "rows": [asdict(row) for row in rows],
        "verification": report.data() if report else None,
    }


def main() -> None:
    """Grade the submission that the first argument describes, and write the result to the second."""
    request, path = json.loads(sys.argv[1]), Path(sys.argv[2])
    try:
        rubric = read_rubric(Path(request.pop("rubric")))
        write(path, to_json(grade_source(rubric=rubric, **request)))
    except UserError as error:
        print(one_line(str(error)), file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
