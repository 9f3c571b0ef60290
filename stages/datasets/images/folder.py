"""A source of images: a folder with a sub-folder of image files for each class."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.datasets.images.files import read_image_file
from stages.datasets.images.sample import ImageSample, ImageSource
from stages.datasets.ledger import SourceNote

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages
    from stages.core.task import Task

_DECODING_BYTES = 2**30  # of images that are decoded at the same time
_BATCH = 512  # files read ahead of packing


def folder_source(task: "Task") -> ImageSource:
    """Return the image files of the folder `prepare.path`; a file that cannot be read has no pixels.

    Raises:
        UserError: it is not a folder with files in at least two sub-folders.
    """
    params: PrepareImages = task.params.prepare
    root = Path(params.path)
    files = class_files(root, f"{task.key('prepare.path')} ({params.path!r})")
    note = SourceNote(
        origin=f"image files of the folder {params.path}",
        licence="as stated by the owner of the files",
        label_rules="the name of the sub-folder that contains the file",
    )
    return ImageSource(_read_files(root, files, params), note)


def class_files(root: Path, key: str) -> list[tuple[Path, str]]:
    """Return each file below a sub-folder of `root`, and the name of the sub-folder, its class.

    Args:
        root: the folder.
        key: names it in messages.

    Raises:
        UserError: it is not a folder with files in at least two sub-folders.
    """
    if not root.is_dir():
        raise UserError(
            f"{key} is not a folder; name one with a sub-folder of images for each class"
        )
    classes = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    if len(classes) < 2:  # noqa: PLR2004
        raise UserError(
            f"{key} has {len(classes)} sub-folders; at least 2 classes are needed, each a sub-folder of "
            "images"
        )
    files = [(file, name) for name in classes for file in _list_files(root, name)]
    if not files:
        raise UserError(f"{key}: its {len(classes)} sub-folders contain no files")
    for name in sorted(set(classes) - {name for _, name in files}):
        raise UserError(f"class {name!r} has 0 usable images; add some, or remove its folder")
    return files


def _list_files(root: Path, name: str) -> Iterator[Path]:
    """Yield the files of a class, at any depth, without hidden ones.

    A broken link counts as a file, so that it is reported as unreadable.
    """
    for path in sorted((root / name).rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if not hidden and (path.is_file() or not path.exists()):
            yield path


def _read_files(
    root: Path, files: list[tuple[Path, str]], params: "PrepareImages"
) -> Iterator[ImageSample]:
    pattern = re.compile(params.group_pattern) if params.group_pattern else None

    def read(file: Path, label: str) -> ImageSample:
        name = file.relative_to(root).as_posix()
        match = pattern.search(name) if pattern else None
        name, label = _escape(name), _escape(label)
        if pattern and not (match and match[1]):
            problem = "no group: group_pattern does not match its path"
            return ImageSample(name, label, problem=problem)
        group = _escape(match[1]) if match else ""
        try:
            pixels = read_image_file(file, params.size, params.channels, params.max_pixels)
        except ValueError as error:
            return ImageSample(name, label, group, problem=str(error))
        return ImageSample(name, label, group, pixels=pixels)

    workers = max(1, min(os.cpu_count() or 1, _DECODING_BYTES // (8 * params.max_pixels)))
    with ThreadPoolExecutor(workers) as pool:  # decoders release the interpreter lock
        for start in range(0, len(files), _BATCH):
            yield from pool.map(read, *zip(*files[start : start + _BATCH], strict=True))


def _escape(name: str) -> str:
    r"""Return a name with characters that cannot be printed, and backslashes, escaped: `\n`."""
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in name
    )
