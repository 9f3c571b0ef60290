"""Change one param of a task, and compare the results before and after on validation data.

The task runs with the change as a DVC experiment in a temporary folder (`dvc exp show` lists it), and
evidence/<task>/experiments.csv gets a row, also where the run failed. Without a change, --next tries the
one that the pack proposes. Test data are not used: they must not choose between changes.
"""

import argparse
import shlex
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError, printable
from stages.core.files import read_csv, read_json, write
from stages.core.processes import git
from stages.evaluation.experiments import LOG
from stages.tools.dvc_experiments import apply_experiment, references, run_experiment

if TYPE_CHECKING:
    import pandas as pd

    from stages.core.task import Task
    from stages.evaluation.experiments import ExperimentResult

_ROOT = Path()


@dataclass(frozen=True)
class Change:
    """A param and its new value, as text: `tasks.workshop.train.epochs` and `18`."""

    key: str
    value: str

    def __str__(self) -> str:
        """Return it as `dvc exp run -S` takes it."""
        return f"{self.key}={self.value}"


@dataclass(frozen=True)
class LogRow:
    """A row of experiments.csv; `before` and `after` are results on validation data."""

    date: str
    change: str
    why: str
    before: str
    after: str
    verdict: str
    kept: str


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
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(change.value)
    except YAMLError:
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
    revisions = references(name)
    if not revisions:
        raise UserError(f"DVC has no experiment {name!r}; see `dvc exp show`")
    before = task.evidence / "data" / module.RESULTS
    with tempfile.TemporaryDirectory() as folder:
        after = Path(folder, module.RESULTS)
        write(after, git(_ROOT, "show", f"{revisions[0]}:{before.as_posix()}") + "\n")
        result: ExperimentResult = module.compare(before, after, task)
    return result


def read_log(task: "Task") -> "pd.DataFrame":
    """Return the experiments of a task so far; all columns are text.

    Raises:
        UserError: the file is damaged.
    """
    import pandas as pd

    path = task.evidence / LOG
    columns = list(LogRow.__dataclass_fields__)
    if not path.exists():
        return pd.DataFrame(columns=columns, dtype=str)
    table = read_csv(path, dtype=str)
    if list(table) != columns:
        raise UserError(f"{path}: must have the columns {', '.join(columns)}")
    return table


def _apply(task: "Task", change: Change, name: str) -> str:
    return apply_experiment(task, change.key, _parse_value(change), name)


def append_to_log(task: "Task", row: LogRow) -> None:
    """Append a row to the experiments of a task; rows of failed attempts stay."""
    import pandas as pd

    table = pd.concat([read_log(task), pd.DataFrame([asdict(row)])], ignore_index=True)
    write(task.evidence / LOG, table)


def try_change(task: "Task", change: Change, why: str, *, keep: bool) -> LogRow:
    """Run the change, compare, and return the row for the log.

    Args:
        task: with a pack of the present params.
        change: of one param.
        why: what is expected, for the log.
        keep: whether to apply the experiment to the work tree where its verdict is "better".

    Raises:
        UserError: the change or the pack does not allow a comparison.
    """
    from stages.tools.tracking import untracked_inputs

    require_current_evidence(task)
    change = check_change(change, task)
    read_log(task)  # a damaged file must be an error before the run, not after it
    inputs = untracked_inputs(task)
    print(f"running {change} (dvc exp run)", file=sys.stderr)
    name, error = run_experiment(change, task, inputs)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    if error:
        return LogRow(date, str(change), why, "", "", f"failed: {error}", "no")
    result = compare_results(task, name)
    kept = keep and result.verdict == "better"
    if kept and (problem := _apply(task, change, name)):
        print(f"not kept: dvc exp apply {name}: {problem}", file=sys.stderr)
        kept = False
    return LogRow(date, str(change), why, **asdict(result), kept="yes" if kept else "no")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("task", help="its name in params.yaml")
    parser.add_argument("change", nargs="*", help="KEY=VALUE, such as train.learning_rate=0.005")
    parser.add_argument("--next", action="store_true", help="try the change that the pack proposes")
    parser.add_argument("--why", default="", help="what you expect of the change, and why")
    parser.add_argument("--keep", action="store_true", help="apply the change if it is better")
    parser.add_argument("--list", action="store_true", help="print the experiments so far")


def run(arguments: argparse.Namespace) -> None:
    """Run one experiment and log it, or print the log.

    Raises:
        UserError: the arguments, or one of the files that they name, do not allow it.
    """
    from stages.kinds.params import load_tasks, select_task

    task = select_task(load_tasks(), arguments.task)
    if arguments.list:
        for cells in read_log(task).itertuples(index=False):
            print("\t".join(printable(str(cell)) for cell in cells))
        return
    if arguments.next and arguments.change:
        raise UserError("give either a change or --next")
    if arguments.next:
        change, proposed_why = proposed_change(task)
    else:
        change, proposed_why = parse_change(task, arguments.change), ""
    why = arguments.why.strip() or proposed_why
    if not why:
        raise UserError("--why is missing: state what you expect of the change, and why")
    row = try_change(task, change, why, keep=arguments.keep)
    append_to_log(task, row)
    for name, value in asdict(row).items():
        print(f"{name}: {printable(value)}")
    print(f"added to: {task.evidence / LOG}")
