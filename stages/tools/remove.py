"""Remove a task and everything that was made for it.

Deleted are its section in params.yaml, its evidence pack, its stages' outputs, plots and metrics, its
entries in evidence/machine.json, evidence/tolerance.json and dvc.lock, its review note, and the .dvc file
that `evidence new` made for its data. Notes that a person has written and other files beside the pack stay,
unless --delete-notes is given. The data from which the task was made are not touched.
"""

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

from stages.core.errors import UserError

LOCK = Path("dvc.lock")
_PACK = ("README.md", "index.html", "record.json", "data", "pictures")
_NO_NOTE = (r"(?s)<!--.*?-->", r"(?m)^#.*$")  # comments, headings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", help="a task of params.yaml")
    parser.add_argument(
        "--delete-notes",
        action="store_true",
        help="also delete what people have written: review notes, experiments.csv, files beside the pack",
    )


def run(arguments: argparse.Namespace) -> None:
    """Delete the task, and print which files were deleted and which were kept."""
    from stages.core.files import write
    from stages.kinds.params import FILE

    name = arguments.name
    params = _without_task(name)
    lock = _without_stages(name)
    folder = Path("evidence", name)
    deletions = [path for path in _output_files(name) if _delete(path)]
    deletions += [path for path in _result_files() if _delete_entry(path, name)]
    notes = _notes(name)
    deletions += [path for path in _note_files(name) if path not in notes and _delete(path)]
    if arguments.delete_notes:
        deletions += [path for path in notes if _delete(path)]
    elif notes:
        print(f"kept, as people may have written them: {', '.join(map(str, notes))}")
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        deletions = [folder, *(path for path in deletions if path.parent != folder)]
    pointers, problem = _untrack(name)
    deletions += pointers
    if problem:
        print(f"kept: {problem}")
    if lock is not None:
        write(LOCK, lock)
    write(FILE, params)  # last, so that an interrupted removal can be repeated
    print(f"removed: tasks.{name} from {FILE}")
    if deletions:
        print(f"deleted: {', '.join(map(str, deletions))}")
    if lock is not None:
        print(f"next: dvc repro (it writes metrics, plots and {LOCK} without the task)")


def _untrack(name: str) -> tuple[list[Path], str]:
    """Undo the tracking of the data that `evidence new` has made, where no other task reads them."""
    from stages.core.params import read_yaml
    from stages.kinds.params import FILE
    from stages.tools.tracking import untrack

    paths = {
        task: str(section["prepare"]["path"])
        for task, section in read_yaml(FILE)["tasks"].items()
        if isinstance(section, dict) and "path" in (section.get("prepare") or {})
    }
    path = paths.pop(name, "")
    return untrack(path, name, paths.values()) if path else ([], "")


def _without_task(name: str) -> str:
    """Return params.yaml without the task's section.

    Raises:
        UserError: there is no such task, it is the last one, or the file's form does not show where its
            section ends.
    """
    from stages.core.params import parse_yaml, read_yaml
    from stages.kinds.params import FILE
    from stages.tools.yaml_sections import remove_section

    before = read_yaml(FILE)
    tasks = before.get("tasks") if isinstance(before, dict) else None
    if not isinstance(tasks, dict) or name not in tasks:
        task_names = ", ".join(map(str, tasks)) if isinstance(tasks, dict) else "none"
        raise UserError(f"given task {name!r}; must be one of {task_names} ({FILE})")
    if len(tasks) == 1:
        raise UserError(
            f"{FILE}: {name} is the last task; the pipeline needs one, so add another first"
        )
    try:
        text = remove_section(FILE.read_bytes().decode(), "tasks", name)
    except UserError as error:
        raise UserError(f"{FILE}: {error}; remove it by hand") from None
    remaining = {key: value for key, value in tasks.items() if key != name}
    if parse_yaml(text) != {**before, "tasks": remaining}:
        raise UserError(
            f"{FILE}: its form does not show where tasks.{name} ends; remove it by hand"
        )
    return text


def _without_stages(name: str) -> str | None:
    """Return dvc.lock without the task's stages, None where it has none.

    DVC itself keeps entries of stages that are gone.
    """
    from stages.tools.yaml_sections import remove_section

    text = before = LOCK.read_bytes().decode() if LOCK.exists() else ""
    for stage in re.findall(rf"^  (\w+@{re.escape(name)}):$", before, re.MULTILINE):
        text = remove_section(text, "stages", stage)
    return text if text != before else None


def _output_files(name: str) -> list[Path]:
    """Return where the stages write for the task."""
    from stages.core.task import DATA, FOLDERS, RESUME

    return [
        *(Path("evidence", name, part) for part in _PACK),
        *(DATA / folder / name for folder in FOLDERS),
        *sorted(Path("plots").glob(f"*/{name}.csv")),
        *(RESUME / f"{name}{suffix}" for suffix in (".lock", ".pid")),
        *sorted(RESUME.glob(f"{name}-*")),
        RESUME / "prepare" / name,
    ]


def _delete(path: Path) -> bool:
    """Delete a file or folder; return whether it was there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return True
    if path.exists() or path.is_symlink():
        path.unlink()
        return True
    return False


def _result_files() -> list[Path]:
    """Return the files that hold an entry for each task."""
    from stages.compare import METRICS
    from stages.core.machine import FILE as MACHINE
    from stages.tools.tolerance import FILE as TOLERANCE

    return [METRICS, MACHINE, TOLERANCE]


def _delete_entry(path: Path, name: str) -> bool:
    """Delete the task's entry from a file of results; return whether there was one.

    The entries are at the top, or below the key `tasks`.
    """
    from stages.core.files import read_json, to_json, write

    if not path.exists():
        return False
    content: Any = read_json(path)
    entries = content.get("tasks", content)
    if name not in entries:
        return False
    del entries[name]
    write(path, to_json(content))
    return True


def _notes(name: str) -> list[Path]:
    """Return what people may have written: review note and log with text in them, files beside the pack."""
    beside = {path for path in Path("evidence", name).glob("*") if path.name not in _PACK}
    return [
        path
        for path in sorted(beside | {*_note_files(name)})
        if path not in _note_files(name) or not _is_empty(path)
    ]


def _note_files(name: str) -> tuple[Path, Path]:
    """Return the files that `evidence new` makes for people to write in: log and review note."""
    from stages.evaluation.experiment_log import LOG
    from stages.report.review import FOLDER

    return Path("evidence", name, LOG), FOLDER / f"{name}.md"


def _is_empty(note: Path) -> bool:
    """Return whether a file is missing or holds nothing but headings and comments."""
    if not note.exists():
        return True
    text = note.read_text(encoding="utf-8", errors="replace")
    if note.suffix == ".csv":
        return not text.partition("\n")[2].strip()
    for pattern in _NO_NOTE:
        text = re.sub(pattern, "", text)
    return not text.strip()
