"""Change one param of a task, and compare the results before and after on validation data.

The task runs with the change as a DVC experiment in a clone (`dvc exp show` lists it), and
evidence/<task>/experiments.csv gets a row, also where the run failed. Without a change, --next tries the
one that the pack proposes. Test data are not used: they must not choose between changes.

The tries on the same validation data are a series: the more there have been, the smaller must be the p
value of a change that is better. --keep tests such a change again, on a fresh draw of the data, and applies
it if it is better there too.
"""

import argparse
import math
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError, printable
from stages.core.files import read_json, write
from stages.evaluation.experiment_log import LOG, LogRow, read_log
from stages.evaluation.series import required_level, shortfall, with_level
from stages.tools.confirmation import Confirmation, confirm
from stages.tools.dvc_experiments import (
    Change,
    apply_experiment,
    experiment_name,
    read_file,
    run_experiments,
)
from stages.tools.evaluation_count import count_test_evaluations
from stages.tools.experiment_series import (
    append_to_log,
    completed_log,
    present_draw,
    with_row,
)
from stages.tools.jobs import site as job_site
from stages.tools.param_changes import (
    check_change,
    parse_change,
    parse_changes,
    parse_value,
    proposed_change,
)
from stages.tools.text_tables import align

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stages.core.task import Task
    from stages.evaluation.experiments import ExperimentResult
    from stages.tools.dvc_experiments import ExperimentRunner

# The columns of the log that a line has room for, and their headings.
_TABLE_COLUMNS = {
    "date": "date",
    "try_number": "try",
    "change": "change",
    "before": "before",
    "after": "after",
    "p": "p",
    "required_p": "needs below",
    "verdict": "verdict",
    "kept": "kept",
    "why": "expected",
}


def require_current_evidence(task: "Task") -> None:
    """Check that the pack, which gives the results before the change, was made with the present params.

    Raises:
        UserError: the pack is missing, or was made with other params.
    """
    packed = read_json(task.evidence / "data" / "params.json")
    if packed != task.params.model_dump():
        raise UserError(
            f"{task.evidence}/data/params.json differs from params.yaml: the pack was made with other "
            f"params; run dvc repro pack@{task.name} first"
        )


def compare_results(task: "Task", name: str) -> "ExperimentResult":
    """Return how the results of an experiment compare with those of the pack.

    Raises:
        UserError: DVC has no such experiment, or the two cannot be compared.
    """
    module = task.module("experiment")
    before = task.evidence / "data" / module.RESULTS
    with tempfile.TemporaryDirectory() as folder:
        after = Path(folder, module.RESULTS)
        write(after, read_file(name, before))
        result: ExperimentResult = module.compare(before, after, task)
    return result


def try_change(
    task: "Task", change: Change, why: str, run_all: "ExperimentRunner" = run_experiments
) -> LogRow:
    """Run the change, compare at the level that the series requires, and return the row for the log.

    Args:
        task: with a pack of the present params.
        change: of one param.
        why: what is expected, for the log.
        run_all: runs experiments.

    Raises:
        UserError: the change or the pack does not allow a comparison.
    """
    from stages.tools.tracking import untracked_inputs

    require_current_evidence(task)
    change = check_change(change, task)
    draw = present_draw(task)
    log = completed_log(task, draw)  # a damaged file must be an error before the run, not after it
    alpha = 1 - task.params.evaluate.confidence
    number = len(draw.rows(log, "validation")) + 1
    level = required_level(number, alpha)
    ((name, error),) = run_all([[change]], task, untracked_inputs(task))
    row = LogRow(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        change=str(change),
        why=why,
        verdict=f"failed: {error}",
        required_p=f"{level:.3g}",
        try_number=str(number),
        split_seed=draw.split_seed,
        data=draw.data,
    )
    if not error:
        result = compare_results(with_level(task, level), name)
        short = "" if result.p is None else shortfall(result.p, number, alpha)
        row = replace(
            row,
            before=result.before,
            after=result.after,
            verdict=": ".join(filter(None, (result.verdict, short))),
            p="" if result.p is None else f"{result.p:.3g}",
        )
    evaluations = count_test_evaluations(task, draw, with_row(log, row))
    return replace(row, test_evaluations=str(evaluations))


def keep_change(
    task: "Task",
    row: LogRow,
    run_all: "ExperimentRunner" = run_experiments,
    *,
    unconfirmed: bool,
) -> LogRow:
    """Confirm a better change on a fresh draw, apply it to the work tree, and return the completed row.

    Args:
        task: with a pack of the present params.
        row: of the try, which is not in the log yet.
        run_all: runs experiments.
        unconfirmed: whether to apply it without the fresh draw.
    """
    from stages.tools.tracking import untracked_inputs

    change = parse_change(task, row.change)
    if unconfirmed:
        confirmation = Confirmation("", "not asked for (--unconfirmed)", confirmed=True)
    else:
        draw = present_draw(task)
        log = completed_log(task, draw)
        confirmation = confirm(task, change, untracked_inputs(task), draw, log, run_all)
    return replace(
        row,
        kept="yes" if confirmation.confirmed and _apply(task, change) else "no",
        confirmation_seed=confirmation.split_seed,
        confirmation=confirmation.text,
    )


def _apply(task: "Task", change: Change) -> bool:
    """Apply the experiment of a change to the work tree; print why that was not possible if it was not."""
    name = experiment_name([change])
    problem = apply_experiment(task, change.key, parse_value(change), name)
    if problem:
        print(f"not kept: dvc exp apply {name}: {problem}", file=sys.stderr)
    return not problem


def _render_again(task: "Task") -> None:
    """Render the task's page with the log; where that fails, print why and how to do it later."""
    from stages.tools.repro.targets import run_targets

    try:
        with redirect_stdout(sys.stderr):
            stages = (f"pack@{task.name}", "compare")
            error = run_targets(stages, single_item=True, progress_seconds=math.inf).error
    except UserError as problem:
        error = str(problem)
    if error:
        print(
            f"the page does not show this experiment yet ({printable(error)}); "
            f"dvc repro pack@{task.name} renders it",
            file=sys.stderr,
        )


def describe_log(task: "Task") -> list[str]:
    """Return the experiments so far as the lines of a table, and where the series stands."""
    table = read_log(task.evidence / LOG)
    table["change"] = table["change"].str.removeprefix(task.key(""))
    table["verdict"] = table["verdict"].str.partition(":")[0]  # without the reason
    rows = [_TABLE_COLUMNS.values(), *table[[*_TABLE_COLUMNS]].to_numpy().tolist()]
    lines = [*align([list(map(str, row)) for row in rows], len(_TABLE_COLUMNS))]
    lines.append(f"all columns: {task.evidence / LOG}")
    if not (task.evidence / "data" / "params.json").exists():
        return lines
    draw = present_draw(task)
    log = completed_log(task, draw)
    number, evaluations = (
        len(draw.rows(log, "validation")),
        count_test_evaluations(task, draw, log),
    )
    level = required_level(number + 1, 1 - task.params.evaluate.confidence)
    return [
        *lines,
        f"tries on the present validation data ({draw}): {number}; the next needs p below {level:.2g}",
        f"evaluations of the present test data, with different params: {evaluations}",
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("task", help="its name in params.yaml")
    parser.add_argument(
        "change",
        nargs="*",
        help="KEY=VALUE, such as train.learning_rate=0.005; several values of one key are a try each",
    )
    parser.add_argument("--next", action="store_true", help="try the change that the pack proposes")
    parser.add_argument("--why", default="", help="what you expect of the change, and why")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="apply the change if it is better, here and on a fresh draw of the data",
    )
    parser.add_argument(
        "--unconfirmed", action="store_true", help="with --keep: without the test on a fresh draw"
    )
    parser.add_argument(
        "--list", action="store_true", help="print a table of the experiments so far"
    )
    job_site.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run one experiment and log it, or print the log.

    Raises:
        UserError: the arguments, or one of the files that they name, do not allow it.
    """
    from stages.kinds.params import load_tasks, select_task

    task = select_task(load_tasks(), arguments.task)
    if arguments.list:
        print("\n".join(describe_log(task)))
        return
    changes, why = _requested(task, arguments)
    run_all, run_kept = _runners(task, changes, arguments.on)
    for change in changes:
        row = try_change(task, change, why, run_all)
        try:
            if arguments.keep and row.verdict == "better":
                row = keep_change(task, row, run_kept, unconfirmed=arguments.unconfirmed)
        finally:  # the validation data have been looked at, also where the confirmation is interrupted
            append_to_log(task, row)
        cells = {**asdict(row), "added_to": str(task.evidence / LOG)}
        pairs = [(name.replace("_", " "), value) for name, value in cells.items() if value]
        print("\n".join(align(pairs, 2)))
    _render_again(task)


def _requested(task: "Task", arguments: argparse.Namespace) -> tuple[list[Change], str]:
    """Return the changes to try, and why.

    Raises:
        UserError: the arguments contradict each other, or one is missing.
    """
    if arguments.next and arguments.change:
        raise UserError("give either a change or --next")
    if arguments.unconfirmed and not arguments.keep:
        raise UserError("--unconfirmed is for --keep: without it nothing is applied")
    proposed_why = ""
    if arguments.next:
        change, proposed_why = proposed_change(task)
        changes = [change]
    else:
        changes = parse_changes(task, arguments.change)
    why = arguments.why.strip() or proposed_why
    if not why:
        raise UserError("--why is missing: state what you expect of the change, and why")
    if arguments.keep and len(changes) > 1:
        raise UserError("--keep is for one value: try them first, then the best one with --keep")
    return changes, why


def _runners(
    task: "Task", changes: list[Change], on: str
) -> "tuple[ExperimentRunner, ExperimentRunner]":
    """Return what runs the experiments of changes, and those that confirm one of them.

    Args:
        task: with a pack of the present params.
        changes: which are run at once, side by side, where `on` names a place.
        on: as `--on` names it.
    """
    if not on:
        return run_experiments, run_experiments
    from stages.tools.jobs.experiments import submit_experiments
    from stages.tools.tracking import untracked_inputs

    require_current_evidence(task)
    experiments = [[check_change(change, task)] for change in changes]
    submit = partial(submit_experiments, on=on)
    errors = dict(submit(experiments, task, untracked_inputs(task)))

    def look_up(
        experiments: "Sequence[Sequence[Change]]", _task: "Task", _inputs: "Sequence[str]"
    ) -> "Iterator[tuple[str, str]]":
        return ((name, errors[name]) for name in map(experiment_name, experiments))

    return look_up, submit
