"""Check that the raw data of each task exist, without reading samples."""

import os
from collections.abc import Mapping
from pathlib import Path

from stages.core.errors import UserError
from stages.core.task import DATA, FOLDERS, Task
from stages.kinds.params import FILE
from stages.kinds.registry import KINDS


def check_sources(tasks: Mapping[str, Task]) -> None:
    """Check that each task's `prepare.path`, and its table of labels, exist and are not empty.

    Files of initial weights must be files that no stage writes: DVC deletes the outputs of a stage before
    it runs, and reading a pipe or a device may never end.

    Data that DVC tracks may be absent: a task does not need those of the others, and DVC itself reports
    those that it needs.

    Raises:
        UserError: a path is missing, is not of the type that the kind reads (a folder or a file), or is
            empty; a table of labels lacks a column; or initial weights are no such file.
    """
    for task in tasks.values():
        _check_weights(task)
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


def _check_weights(task: Task) -> None:
    for key, name in task.input_paths().items():
        if not key.endswith(".initial_weights") or name == "imagenet":
            continue
        value = f"{FILE}: {task.key(key)}: given {name!r}"
        try:
            path = Path(name)
            places = (Path(os.path.abspath(path)), path.resolve())  # noqa: PTH100 (as written, and links followed)
            if path.exists() and not path.is_file():
                raise UserError(f"{value}; must be a .safetensors file")
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # no permission, a NUL in the path, ...
            raise UserError(f"{value}; cannot be used ({error})") from None
        for folder in (DATA / name for name in FOLDERS):
            if any(place.is_relative_to(folder.resolve()) for place in places):
                raise UserError(
                    f"{value}; must be outside {folder}, which DVC deletes before it runs the stage; copy "
                    "the file to data/raw and name the copy"
                )


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
