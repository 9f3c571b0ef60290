"""A source of images: a folder of image files, in one of the layouts of `layouts.py`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.datasets.images.decoding import DecodedFile, Decoder, changed, file_state
from stages.datasets.images.files import GreyDepth
from stages.datasets.images.folder_tree import escape, listing
from stages.datasets.images.layouts import FolderContents, LayoutChoice, read_folder
from stages.datasets.images.path_groups import match_paths
from stages.datasets.images.problems import refuse_problems
from stages.datasets.images.sample import ImageFile, ImageSample, ImageSource
from stages.datasets.images.shards import decode_files
from stages.datasets.ledger import SourceNote

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages
    from stages.core.task import Task

_LABEL_RULES = {
    "classes": "the name of the sub-folder that contains the file",
    "splits": "the name of the sub-folder, below that of the split, that contains the file",
}


def folder_source(
    task: "Task",
    choice: LayoutChoice | None = None,
    grey_bits: int | None = None,
    *,
    resumable: bool = True,
) -> ImageSource:
    """Return the image files of the folder `prepare.path`; a file that cannot be read has no pixels.

    Args:
        task: its params of the stage prepare apply.
        choice: how the layout is chosen; None: by the params.
        grey_bits: by which 16-bit grey files are scaled; None: by those that they use.
        resumable: decode many files in shards, which are kept for the next run if this one is interrupted.

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
        raise UserError(changed(root / str(params.labels and params.labels.path)))
    files = contents.files
    if params.group_pattern is not None:
        files = _with_groups(files, params.group_pattern, task.key("prepare.group_pattern"))
    if params.unreadable == "refuse":  # before any is decoded
        problems = [(escape(file.path), escape(file.problem)) for file in files if file.problem]
        refuse_problems(problems, params.path, task.key("prepare.unreadable"))
    # Test data do not decide how 16-bit files are scaled.
    depth = GreyDepth(root, [file.path for file in files if _scales(file)], params.max_pixels)
    note = _note(contents, params)
    decoder = Decoder(root, params.size, params.channels, params.max_pixels, grey_bits or depth)
    usable = [file.path for file in files if not file.problem]
    images = decode_files(decoder, usable, task.resume_folder("prepare") if resumable else None)
    samples = _samples(files, images, note.remarks)
    return ImageSource(samples, note, contents.layout, None if grey_bits else depth)


def _table_state(root: Path, params: "PrepareImages") -> tuple[int, int] | None:
    return file_state(root / params.labels.path) if params.labels else None


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


def _samples(
    files: Iterable[ImageFile], images: Iterator[DecodedFile], remarks: list[str]
) -> Iterator[ImageSample]:
    """Yield the samples; after the last one, `remarks` gets a sentence on files of several frames.

    Args:
        files: of the folder.
        images: those without a problem, decoded, in the same order.
        remarks: of the source.
    """
    animated: list[str] = []
    for file in files:
        image = DecodedFile(None, escape(file.problem)) if file.problem else next(images)
        if image.has_further_frames:
            animated.append(file.path)
        yield ImageSample(
            escape(file.path),
            escape(file.label),
            escape(file.group),
            file.split,
            image.pixels,
            image.problem,
        )
    if animated:
        remarks.append(f"{listing(animated)}: files of several frames count as their first frame")
