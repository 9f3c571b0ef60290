"""Change one param of a task, and compare the results before and after on validation data.

The task runs with the change as a DVC experiment in a temporary folder (`dvc exp show` lists it), and
evidence/<task>/experiments.csv gets a row, also where the run failed. Without a change, --next tries the
one that the pack proposes. Test data are not used: they must not choose between changes.

The tries on the same validation data are a series: the more there have been, the smaller must be the p
value of a change that is better. --keep tests such a change again, on a fresh draw of the data, and applies
it if it is better there too.
"""

import argparse
import shlex
import sys
import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_json, write
from stages.evaluation.experiments import LOG
from stages.evaluation.series import required_level, shortfall, with_level
from stages.tools.confirmation import Confirmation, confirm
from stages.tools.dvc_experiments import (
    Change,
    apply_experiment,
    experiment_name,
    read_file,
    run_experiment,
)
from stages.tools.evaluation_count import count_test_evaluations
from stages.tools.experiment_log import (
    LogRow,
    append_to_log,
    completed_log,
    present_draw,
    read_log,
    with_row,
)
from stages.tools.text_tables import align

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.evaluation.experiments import ExperimentResult

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


def parse_change(task: "Task", changes: list[str]) -> Change:
    """Return the change that the command line names, under its full key.

    Args:
        task: the key may leave out `tasks.<name>.`.
        changes: the arguments KEY=VALUE; there must be one.

    Raises:
        UserError: there is none, there are several, or it is not written KEY=VALUE.
    """
    if len(changes) != 1:
        raise UserError(
            f"{len(changes)} changes given; change one param, so that its effect is known: "
            f"KEY=VALUE, such as train.learning_rate=0.005, or --next"
        )
    key, equals, value = changes[0].partition("=")
    if not (key and equals and value):
        raise UserError(
            f"given {changes[0]!r}; must be KEY=VALUE, such as train.learning_rate=0.005"
        )
    return Change(task.key(key.removeprefix(task.key(""))), value)


def proposed_change(task: "Task") -> tuple[Change, str]:
    """Return the change that the pack proposes, and why.

    Raises:
        UserError: the pack has not been made.
    """
    step = read_json(task.evidence / "data" / "next_step.json")
    *_, argument = shlex.split(step["command"])
    return parse_change(task, [argument]), step["why"]


def check_change(change: Change, task: "Task") -> Change:
    """Check a change against the schema of the params, before anything runs.

    Returns:
        The change with its value written as DVC reads it: `1e-3` as `0.001`.

    Raises:
        UserError: the key is unknown, the value is not allowed or is the present one, or results before
            and after the change would not be comparable.
    """
    from stages.core.params import read_yaml
    from stages.kinds.params import FILE, check_params

    params = read_yaml(FILE)
    section: Any = params
    *path, name = change.key.split(".")
    for part in path:
        section = section.setdefault(part, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise UserError(f"{FILE}: {change.key}: no such key")
    value = _parse_value(change)
    unchanged = name in section and section[name] == value
    section[name] = value
    check_params(params, FILE)  # an unknown key gets its nearest known key here
    _require_comparable(change, task)
    if unchanged:
        raise UserError(f"{change.key}: is {value!r} already; give another value")
    if isinstance(value, int | float):  # DVC takes 0x10 for text
        return Change(change.key, str(value).lower())
    return change


def _parse_value(change: Change) -> Any:
    from stages.core.params import parse_yaml

    try:
        return parse_yaml(change.value)
    except ValueError:
        raise UserError(
            f"{change.key}: given {change.value!r}; must be a value as in YAML"
        ) from None


def _require_comparable(change: Change, task: "Task") -> None:
    key = change.key.removeprefix(task.key(""))
    prefixes = task.module("experiment").COMPARABLE
    if not key.startswith(("train.", *prefixes)) or key == "train.seeds":
        keys = " or ".join(("train (but not train.seeds)", *prefixes))
        raise UserError(
            f"{change.key}: results before and after would not be comparable; change a key of "
            f"{task.key('')}{keys}, or edit params.yaml and run dvc repro"
        )


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


def try_change(task: "Task", change: Change, why: str) -> LogRow:
    """Run the change, compare at the level that the series requires, and return the row for the log.

    Args:
        task: with a pack of the present params.
        change: of one param.
        why: what is expected, for the log.

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
    name, error = run_experiment([change], task, untracked_inputs(task))
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


def keep_change(task: "Task", row: LogRow, *, unconfirmed: bool) -> LogRow:
    """Confirm a better change on a fresh draw, apply it to the work tree, and return the completed row.

    Args:
        task: with a pack of the present params.
        row: of the try, which is not in the log yet.
        unconfirmed: whether to apply it without the fresh draw.
    """
    from stages.tools.tracking import untracked_inputs

    change = parse_change(task, [row.change])
    if unconfirmed:
        confirmation = Confirmation("", "not asked for (--unconfirmed)", confirmed=True)
    else:
        draw = present_draw(task)
        log = completed_log(task, draw)
        confirmation = confirm(task, change, untracked_inputs(task), draw, log)
    return replace(
        row,
        kept="yes" if confirmation.confirmed and _apply(task, change) else "no",
        confirmation_seed=confirmation.split_seed,
        confirmation=confirmation.text,
    )


def _apply(task: "Task", change: Change) -> bool:
    """Apply the experiment of a change to the work tree; print why that was not possible if it was not."""
    name = experiment_name([change])
    problem = apply_experiment(task, change.key, _parse_value(change), name)
    if problem:
        print(f"not kept: dvc exp apply {name}: {problem}", file=sys.stderr)
    return not problem


def describe_log(task: "Task") -> list[str]:
    """Return the experiments so far as the lines of a table, and where the series stands."""
    table = read_log(task)
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
    parser.add_argument("change", nargs="*", help="KEY=VALUE, such as train.learning_rate=0.005")
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
    if arguments.next and arguments.change:
        raise UserError("give either a change or --next")
    if arguments.unconfirmed and not arguments.keep:
        raise UserError("--unconfirmed is for --keep: without it nothing is applied")
    if arguments.next:
        change, proposed_why = proposed_change(task)
    else:
        change, proposed_why = parse_change(task, arguments.change), ""
    why = arguments.why.strip() or proposed_why
    if not why:
        raise UserError("--why is missing: state what you expect of the change, and why")
    row = try_change(task, change, why)
    try:
        if arguments.keep and row.verdict == "better":
            row = keep_change(task, row, unconfirmed=arguments.unconfirmed)
    finally:  # the validation data have been looked at, also where the confirmation is interrupted
        append_to_log(task, row)
    cells = {**asdict(row), "added_to": str(task.evidence / LOG)}
    pairs = [(name.replace("_", " "), value) for name, value in cells.items() if value]
    print("\n".join(align(pairs, 2)))
