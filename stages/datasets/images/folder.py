"""A source of images: a folder of image files, in one of the layouts of `layouts.py`."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.progress import progress
from stages.datasets.images.files import GreyDepth, read_image_file
from stages.datasets.images.folder_tree import escape
from stages.datasets.images.layouts import FolderContents, LayoutChoice, read_folder
from stages.datasets.images.problems import refuse_problems
from stages.datasets.images.sample import ImageFile, ImageSample, ImageSource
from stages.datasets.ledger import SourceNote

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages
    from stages.core.task import Task

_DECODING_BYTES = 2**30  # of images that are decoded at the same time
_BATCH = 512  # files read ahead of packing
_LABEL_RULES = {
    "classes": "the name of the sub-folder that contains the file",
    "splits": "the name of the sub-folder, below that of the split, that contains the file",
}


def folder_source(task: "Task") -> ImageSource:
    """Return the image files of the folder `prepare.path`; a file that cannot be read has no pixels.

    Raises:
        UserError: it is not a folder in a known layout, or while the images are read a file changes.
    """
    params: PrepareImages = task.params.prepare
    root = Path(params.path)
    choice = LayoutChoice(
        f"{task.key('prepare.path')} ({params.path!r})",
        task.key("prepare.layout"),
        task.key("prepare.labels"),
        params.layout,
        params.labels,
    )
    before = _table_state(root, params)
    contents = read_folder(root, choice)
    if _table_state(root, params) != before:
        raise UserError(_changed(root / str(params.labels and params.labels.path)))
    pattern = re.compile(params.group_pattern) if params.group_pattern else None
    files = [_with_group(file, pattern) for file in contents.files]
    if params.unreadable == "refuse":  # before any is decoded
        problems = [(escape(file.path), escape(file.problem)) for file in files if file.problem]
        refuse_problems(problems, params.path, task.key("prepare.unreadable"))
    # Test data do not decide how 16-bit files are scaled.
    depth = GreyDepth([root / file.path for file in files if _scales(file)], params.max_pixels)
    samples = progress(_read_files(root, files, params, depth), "reading images", len(files))
    return ImageSource(samples, _note(contents, params), contents.layout, depth)


def _table_state(root: Path, params: "PrepareImages") -> tuple[int, int] | None:
    return _state(root / params.labels.path) if params.labels else None


def _state(path: Path) -> tuple[int, int] | None:
    """Return size and time of change of a file, None where it cannot be found."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _changed(path: Path) -> str:
    return f"{path} changed while it was read; run again once nothing writes to it"


def _note(contents: FolderContents, params: "PrepareImages") -> SourceNote:
    labels = contents.labels
    rules = (
        _LABEL_RULES[contents.layout]
        if labels is None
        else f"column {labels.label!r} of {labels.path}"
    )
    return SourceNote(
        origin=f"image files of the folder {params.path}",
        licence="as stated by the owner of the files",
        label_rules=rules,
        remarks=list(contents.remarks),
    )


def _with_group(file: ImageFile, pattern: "re.Pattern[str] | None") -> ImageFile:
    """Return a file with the group that the pattern finds in its path, or without one as a problem."""
    if pattern is None or file.problem:
        return file
    match = pattern.search(file.path)
    if not match or not match[1]:
        return replace(file, problem="no group: group_pattern does not match its path")
    return replace(file, group=match[1])


def _scales(file: ImageFile) -> bool:
    return not file.problem and file.split != "test"


def _read_files(
    root: Path, files: list[ImageFile], params: "PrepareImages", depth: GreyDepth
) -> Iterator[ImageSample]:
    def read(file: ImageFile) -> ImageSample:
        names = (escape(file.path), escape(file.label), escape(file.group), file.split)
        if file.problem:
            return ImageSample(*names, problem=escape(file.problem))
        path = root / file.path
        before = _state(path)
        try:
            pixels = read_image_file(path, params.size, params.channels, params.max_pixels, depth)
        except ValueError as error:
            sample = ImageSample(*names, problem=str(error))
        else:
            sample = ImageSample(*names, pixels=pixels)
        if _state(path) != before:
            raise UserError(_changed(path))
        return sample

    workers = max(1, min(os.cpu_count() or 1, _DECODING_BYTES // (8 * params.max_pixels)))
    with ThreadPoolExecutor(workers) as pool:  # decoders release the interpreter lock
        for start in range(0, len(files), _BATCH):
            yield from pool.map(read, files[start : start + _BATCH])
