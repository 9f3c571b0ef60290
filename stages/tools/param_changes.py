"""Changes of params that an experiment tries: from the command line, or from the pack."""

import shlex
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.tools.dvc_experiments import Change

if TYPE_CHECKING:
    from stages.core.task import Task


def parse_changes(task: "Task", texts: list[str]) -> list[Change]:
    """Return the changes that the command line names, under the full key: each is a try of its own.

    Args:
        task: the key may leave out `tasks.<name>.`.
        texts: the arguments KEY=VALUE; all of one key.

    Raises:
        UserError: there is none, they change several keys, or one is not written KEY=VALUE.
    """
    changes = [parse_change(task, text) for text in texts]
    if len({change.key for change in changes}) != 1 or len(set(changes)) < len(changes):
        raise UserError(
            f"{len(changes)} changes given; change one param, so that its effect is known: "
            f"KEY=VALUE, such as train.learning_rate=0.005 (several values of it, each a try of its "
            "own: KEY=VALUE KEY=VALUE ...), or --next"
        )
    return changes


def parse_change(task: "Task", text: str) -> Change:
    """Return the change that an argument KEY=VALUE names, under its full key.

    Raises:
        UserError: it is not written so.
    """
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise UserError(f"given {text!r}; must be KEY=VALUE, such as train.learning_rate=0.005")
    return Change(task.key(key.removeprefix(task.key(""))), value)


def proposed_change(task: "Task") -> tuple[Change, str]:
    """Return the change that the pack proposes, and why.

    Raises:
        UserError: the pack has not been made.
    """
    step = read_json(task.evidence / "data" / "next_step.json")
    *_, argument = shlex.split(step["command"])
    return parse_change(task, argument), step["why"]


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
    value = parse_value(change)
    unchanged = name in section and section[name] == value
    section[name] = value
    check_params(params, FILE)  # an unknown key gets its nearest known key here
    _require_comparable(change, task)
    if unchanged:
        raise UserError(f"{change.key}: is {value!r} already; give another value")
    if isinstance(value, int | float):  # DVC takes 0x10 for text
        return Change(change.key, str(value).lower())
    return change


def parse_value(change: Change) -> Any:
    """Return the new value of a change, read as YAML.

    Raises:
        UserError: it is no YAML.
    """
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
