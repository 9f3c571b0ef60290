"""Put files of DVC's that a kill has damaged back, before `dvc repro`, which would refuse to start.

DVC does not write dvc.lock atomically: a process that is killed while it writes leaves a part of the file,
or an empty one. The last committed file takes its place; of stages that have run since, DVC's cache holds
most outputs. DVC's own table of running commands is written in the same way; a damaged one is deleted.
"""

import json
import re
import sys
from pathlib import Path

from stages.core.errors import UserError, exit_on_user_error, printable
from stages.core.files import write
from stages.core.repositories import git

LOCK = Path("dvc.lock")
DAMAGED = Path(".dvc/tmp/damaged-dvc.lock")  # git ignores it
RUNNING = Path(".dvc/tmp/rwlock")
_CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
_MAX_LENGTH = 200  # characters of an error that a message repeats


def damage(text: str) -> str:
    """Return why DVC would reject the text of a dvc.lock, "" if it would not."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    if not text.strip():
        return "it is empty"
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text))
    except (YAMLError, ValueError, Invalid) as error:
        return printable(str(error))[:_MAX_LENGTH]
    return ""


def restore_lock(folder: Path) -> str:
    """Put the committed dvc.lock of a project in the place of a damaged one.

    The damaged file is kept below .dvc/tmp. A valid or missing file is left as it is.

    Returns:
        What was done, in a line; "" for nothing.

    Raises:
        UserError: the file is the unfinished merge of two, or git has no valid one.
    """
    path = folder / LOCK
    if not path.is_file():
        return ""
    data = path.read_bytes()
    text = data.decode("utf-8", "replace")  # what is not UTF-8 is no YAML of DVC's either
    reason = damage(text)
    if not reason:
        return ""
    if _CONFLICT.search(text):
        raise UserError(
            f"{LOCK} has merge conflicts; take one side (git checkout --ours {LOCK}, or --theirs) and run "
            "the same command again"
        )
    try:
        committed = git(folder, "show", f"HEAD:./{LOCK}") + "\n"
        reason_of_committed = damage(committed)
    except UserError as error:
        reason_of_committed = str(error)
    if reason_of_committed:
        raise UserError(
            f"{LOCK} is damaged ({reason}), and git has no valid one ({reason_of_committed}); delete it "
            f"(rm {LOCK}) and run the same command again: it runs every stage that DVC's cache lacks"
        )
    write(folder / DAMAGED, data)
    write(path, committed)
    return (
        f"{LOCK} was damaged ({reason}), as by a kill while DVC wrote it: the committed one is in its "
        f"place, the damaged one is {DAMAGED}"
    )


def delete_damaged_table(folder: Path) -> str:
    """Delete DVC's table of running commands where it is damaged; return what was done, "" for nothing."""
    path = folder / RUNNING
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return ""
    except ValueError:
        path.unlink(missing_ok=True)
        return f"{RUNNING} was damaged, as by a kill while DVC wrote it: deleted"
    return ""


def main() -> None:
    """Put back what is damaged in the current folder, and say so."""
    with exit_on_user_error("restore"):
        for line in (restore_lock(Path()), delete_damaged_table(Path())):
            if line:
                print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
