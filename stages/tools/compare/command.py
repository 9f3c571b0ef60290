"""Compare two methods on the same samples: is B better than A, or the same?

- Two tables of predictions from anywhere (csv, tsv, jsonl, parquet; gz): an id, a label and a prediction in
  each row, perhaps a group and probabilities. No project is needed. One table with two columns of
  predictions works too.
- Two revisions of this repository: task by task, with the samples that the second fixes and breaks. Nothing
  is checked out. --html writes a page of what changes (params, data, metrics, samples with pictures),
  --markdown the same in short for a pull request.
- One revision, or none (the measured baseline): a table of the metrics before and now.

A is the first, B the second. The test is paired: McNemar's, a sign flip over groups, or a permutation test.
Exit status: 0 if B is better or equivalent, or predicts the same; 1 if that is not shown (worse, not
distinguishable, underpowered, too few groups, a task that cannot be compared), so that a job which lets B
replace A on status 0 never does so without evidence; 2 for wrong input. For a change that should change
nothing, set --margin. Of one revision or none, the status is 0.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.tools.compare import options

if TYPE_CHECKING:
    from stages.tools.compare.output import Report
    from stages.tools.compare.revision import Revision

NOT_SHOWN_STATUS = 1
add_arguments = options.add_arguments


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison, and write what is asked for; return the exit status.

    Raises:
        UserError: the inputs are neither tables nor revisions, or cannot be compared.
    """
    from stages.tools.compare.metric_changes import BASELINE, print_changes

    inputs = arguments.inputs or [BASELINE]
    if len(inputs) > 2:  # noqa: PLR2004
        raise UserError(f"given {len(inputs)} inputs; compare takes two tables or two revisions")
    _check_outputs(arguments)
    tables = [is_table(text) for text in inputs if text != BASELINE or len(inputs) > 1]
    if tables and all(tables):
        from stages.tools.compare.tables import compare_tables

        options.require_no_pages(arguments)
        return _finish(compare_tables(inputs, arguments), arguments)
    if any(tables):
        raise UserError(
            f"given a table and a revision, {' and '.join(inputs)}; give two tables or two revisions"
        )
    options.require_no_columns(arguments)
    if len(inputs) == 1:
        options.require_no_tests(arguments)
        print_changes(*inputs)
        return 0
    from stages.tools.compare.revision import require_revision
    from stages.tools.compare.revisions import compare_revisions

    before, after = (require_revision(name) for name in inputs)
    report = compare_revisions(before, after, arguments)
    if arguments.html or arguments.markdown:
        _write_changes(before, after, report, arguments)
    return _finish(report, arguments)


def is_table(text: str) -> bool:
    """Return whether an input is a table: a file with a table's suffix; otherwise it is a revision.

    Raises:
        UserError: it is both, or a file with another suffix and no revision.
    """
    from stages.datasets.tables.formats import SUFFIXES
    from stages.tools.compare.revision import find_revision

    is_file = os.path.isfile(text)  # noqa: PTH113 (a name that no path can have is no error)
    has_suffix = text.lower().endswith(SUFFIXES)
    revision = find_revision(text)
    if is_file and has_suffix and revision:
        raise UserError(
            f"{text} is a file and a git revision; write ./{text} for the file, or its commit "
            f"{revision.commit[:12]} for the revision"
        )
    if is_file and not has_suffix and not revision:
        raise UserError(f"{text}: a table must end in {', '.join(SUFFIXES)}")
    if has_suffix and not is_file and not revision:
        raise UserError(f"{text}: no such file, and no git revision of that name")
    return is_file and has_suffix


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Require that outputs can be written, and do not replace an input."""
    suffixes = {"json": ".json", "figure": ".svg", "html": ".html", "markdown": ".md"}
    for name, suffix in suffixes.items():
        text = getattr(arguments, name)
        if text in {None, "-"}:
            continue
        path = Path(text)
        if path.suffix.lower() != suffix:
            raise UserError(f"--{name}: given {path}; must end in {suffix}")
        if not path.parent.is_dir():
            raise UserError(f"--{name}: {path.parent} is not a folder")
        if path.resolve() in [Path(text).resolve() for text in arguments.inputs]:
            raise UserError(f"--{name}: {path} is an input, and would be lost; name another file")


def _write_changes(
    before: "Revision", after: "Revision", report: "Report", arguments: argparse.Namespace
) -> None:
    """Write what changes between two revisions as a page, as Markdown, or both."""
    from stages.core.files import write
    from stages.tools.compare.changes import find_changes
    from stages.tools.compare.changes_markdown import render_changes_markdown
    from stages.tools.compare.changes_page import render_changes

    changes = find_changes(before, after, report)
    if arguments.html:
        write(Path(arguments.html), render_changes(changes))
    if arguments.markdown:
        write(Path(arguments.markdown), render_changes_markdown(changes))


def _finish(report: "Report", arguments: argparse.Namespace) -> int:
    """Print and write a report; return the exit status."""
    from stages.core.files import to_json, write

    if arguments.figure:
        from stages.tools.compare.figure import draw

        write(Path(arguments.figure), draw(report))
    if arguments.json == "-":
        print(to_json(report.content).decode(), end="")
    else:
        if arguments.json:
            write(Path(arguments.json), to_json(report.content))
        print("\n".join(report.lines).encode("utf-8", "backslashreplace").decode())
    return 0 if report.accepted else NOT_SHOWN_STATUS
