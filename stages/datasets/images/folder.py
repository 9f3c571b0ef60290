"""A source of images: a folder of image files, in one of the layouts of `layouts.py`."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.progress import progress
from stages.datasets.images.files import GreyDepth, read_first_frame
from stages.datasets.images.folder_tree import escape, listing
from stages.datasets.images.layouts import FolderContents, LayoutChoice, read_folder
from stages.datasets.images.path_groups import match_paths
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


def folder_source(
    task: "Task", choice: LayoutChoice | None = None, grey_bits: int | None = None
) -> ImageSource:
    """Return the image files of the folder `prepare.path`; a file that cannot be read has no pixels.

    Args:
        task: its params of the stage prepare apply.
        choice: how the layout is chosen; None: by the params.
        grey_bits: by which 16-bit grey files are scaled; None: by those that they use.

    Raises:
        UserError: it is not a folder in a known layout, or while the images are read a file changes.
    """
    params: PrepareImages = task.params.prepare
    root = Path(params.path)
    choice = choice or LayoutChoice(
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
    files = contents.files
    if params.group_pattern is not None:
        files = _with_groups(files, params.group_pattern, task.key("prepare.group_pattern"))
    if params.unreadable == "refuse":  # before any is decoded
        problems = [(escape(file.path), escape(file.problem)) for file in files if file.problem]
        refuse_problems(problems, params.path, task.key("prepare.unreadable"))
    # Test data do not decide how 16-bit files are scaled.
    depth = GreyDepth([root / file.path for file in files if _scales(file)], params.max_pixels)
    note = _note(contents, params)
    samples = _read_files(root, files, params, grey_bits or depth, note.remarks)
    samples = progress(samples, "reading images", len(files))
    return ImageSource(samples, note, contents.layout, None if grey_bits else depth)


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


def _with_groups(files: list[ImageFile], pattern: str, key: str) -> list[ImageFile]:
    """Return files with the groups that the pattern finds in their paths; one without is a problem."""
    usable = [file.path for file in files if not file.problem]
    matches = dict(zip(usable, match_paths(pattern, usable, key), strict=True))

    def with_group(file: ImageFile) -> ImageFile:
        if file.problem:
            return file
        match = matches[file.path]
        if not match or not match[1]:
            return replace(file, problem="no group: group_pattern does not match its path")
        return replace(file, group=match[1])

    return [with_group(file) for file in files]


def _scales(file: ImageFile) -> bool:
    return not file.problem and file.split != "test"


def _read_files(
    root: Path,
    files: list[ImageFile],
    params: "PrepareImages",
    depth: GreyDepth | int,
    remarks: list[str],
) -> Iterator[ImageSample]:
    """Yield the samples; after the last one, `remarks` gets a sentence on files of several frames."""
    animated: list[str] = []

    def read(file: ImageFile) -> ImageSample:
        names = (escape(file.path), escape(file.label), escape(file.group), file.split)
        if file.problem:
            return ImageSample(*names, problem=escape(file.problem))
        path = root / file.path
        before = _state(path)
        try:
            pixels, has_more = read_first_frame(
                path, params.size, params.channels, params.max_pixels, depth
            )
        except ValueError as error:
            sample = ImageSample(*names, problem=str(error))
        else:
            sample = ImageSample(*names, pixels=pixels)
            if has_more:
                animated.append(file.path)
        if _state(path) != before:
            raise UserError(_changed(path))
        return sample

    workers = max(1, min(os.cpu_count() or 1, _DECODING_BYTES // (8 * params.max_pixels)))
    with ThreadPoolExecutor(workers) as pool:  # decoders release the interpreter lock
        for start in range(0, len(files), _BATCH):
            yield from pool.map(read, files[start : start + _BATCH])
    if animated:
        remarks.append(f"{listing(animated)}: files of several frames count as their first frame")
