"""Check that the raw data of each task exist, without reading samples."""

from collections.abc import Mapping
from pathlib import Path

from stages.core.errors import UserError
from stages.core.task import Task
from stages.kinds.params import FILE
from stages.kinds.registry import KINDS


def check_sources(tasks: Mapping[str, Task]) -> None:
    """Check that each task's `prepare.path`, and its table of labels, exist and are not empty.

    Data that DVC tracks may be absent: a task does not need those of the others, and DVC itself reports
    those that it needs.

    Raises:
        UserError: a path is missing, is not of the type that the kind reads (a folder or a file), or is
            empty; or a table of labels lacks a column.
    """
    for task in tasks.values():
        prepare = task.params.prepare
        if prepare.source == "torchvision":
            _make_folder(task)
        else:
            _check_path(task, folder=KINDS[task.kind].data == "folder")
            if getattr(prepare, "labels", None) is not None and Path(prepare.path).exists():
                _check_labels(task)


def dvc_pointer(path: str) -> Path | None:
    """Return the .dvc file by which DVC tracks a file or folder, or one that contains it; None for none."""
    names = [str(place) for place in (Path(path), *Path(path).parents) if place.name]
    return next((file for name in names if (file := Path(f"{name}.dvc")).is_file()), None)


def _make_folder(task: Task) -> None:
    """Make the folder to download to."""
    try:
        Path(task.params.prepare.path).mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{_value(task)}; cannot be used ({error})") from None


def _check_path(task: Task, *, folder: bool) -> None:
    """Check the path of a kind that reads a folder, or else a file or a folder with one for each split."""
    word, source = "folder" if folder else "file or folder", task.params.prepare.source
    try:
        path = Path(task.params.prepare.path)
        if not path.exists() and dvc_pointer(task.params.prepare.path):
            return
        if not (path.is_dir() or (path.is_file() and not folder)):
            raise UserError(f"{_value(task)}; must be an existing {word} (source: {source})")
        if not (any(path.iterdir()) if path.is_dir() else path.stat().st_size):
            raise UserError(
                f"{_value(task)}; the {'folder' if path.is_dir() else 'file'} is empty (source: {source})"
            )
    except (OSError, RuntimeError, ValueError) as error:  # no permission, a NUL in the path, ...
        raise UserError(f"{_value(task)}; cannot be used ({error})") from None


def _check_labels(task: Task) -> None:
    from stages.datasets.images.label_table import label_indices, open_table  # slow to import

    prepare, key = task.params.prepare, task.key("prepare.labels")
    try:
        table = open_table(Path(prepare.path), prepare.labels, key)
        label_indices(table, prepare.labels, key)
    except UserError as error:
        raise UserError(f"{FILE}: {error}") from None
    except (OSError, ValueError) as error:  # no permission, a NUL in the path, ...
        raise UserError(
            f"{FILE}: {key}.path: given {prepare.labels.path!r}; cannot be used ({error})"
        ) from None


def _value(task: Task) -> str:
    return f"{FILE}: {task.key('prepare.path')}: given {task.params.prepare.path!r}"
