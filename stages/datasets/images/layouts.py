"""The layouts of a folder of images, and which of them a folder has.

classes: a sub-folder for each class. splits: folders for training, validation and test data, each with a
sub-folder for each class. table: files at any place, with their classes in a table.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.datasets.class_names import require_distinct
from stages.datasets.images.folder_tree import FolderTree, is_image_name, listing, read_tree
from stages.datasets.images.label_columns import guess_labels
from stages.datasets.images.label_table import labelled_files
from stages.datasets.images.problems import summarise_problems
from stages.datasets.images.sample import ImageFile
from stages.datasets.tables.reading import official_split

if TYPE_CHECKING:
    from stages.core.schema import Labels

_MIN_CLASSES = 2
_NAMED = 12  # classes that a message names


@dataclass(frozen=True)
class FolderContents:
    """The image files of a folder, with what its layout says of each.

    Attributes:
        layout: "classes", "splits" or "table".
        files: in the order of their paths.
        remarks: sentences on what is left out or is unusual.
        labels: the table of labels and its columns, in the layout "table".
    """

    layout: str
    files: list[ImageFile]
    remarks: list[str]
    labels: "Labels | None" = None


@dataclass(frozen=True)
class LayoutChoice:
    """How the layout of a folder is chosen, and the words for it in messages.

    Attributes:
        name: of the folder.
        layout_key: the param or flag that chooses the layout.
        labels_key: the param that names the table of labels and its columns.
        layout: the choice; None: detected.
        labels: the choice; None: there is no table, or it is detected.
        guess: take the columns of a table for what they seem to be, instead of asking for them.
    """

    name: str
    layout_key: str
    labels_key: str
    layout: str | None = None
    labels: "Labels | None" = None
    guess: bool = False


@dataclass(frozen=True)
class _Folders:
    """The files of a folder, by the folders in it.

    Attributes:
        loose: files in the folder itself.
        files: files below each folder in it, at any depth.
        inner: folders in each folder that hold images.
        has_images: names of the folders that hold images.
    """

    loose: list[str]
    files: dict[str, list[str]]
    inner: dict[str, set[str]] = field(default_factory=dict)
    has_images: set[str] = field(default_factory=set)


def read_folder(root: Path, choice: LayoutChoice) -> FolderContents:
    """Return the image files of a folder, with the class and official split that its layout gives them.

    Raises:
        UserError: it is no folder, has fewer than two classes, has several layouts to choose from, or
            two of its classes have names that look the same.
    """
    if not root.is_dir():
        raise UserError(
            f"{choice.name} is not a folder; name one with a sub-folder of images for each class"
        )
    tree = read_tree(root)
    folders = _by_folder(tree)
    layout, labels = _select(tree, folders, choice)
    if layout == "table":
        if labels is None:
            raise UserError(_no_table(tree, choice))
        files, remarks = labelled_files(tree, labels, choice.labels_key)
    elif layout == "splits":
        files, remarks = _split_files(folders, choice)
    else:
        files, remarks = _class_files(folders, choice, root)
    names = {file.label for file in files if file.label}
    if len(names) < _MIN_CLASSES:
        problems = summarise_problems((file.path, file.problem) for file in files if file.problem)
        raise UserError(
            f"{choice.name}: {len(names)} classes; at least {_MIN_CLASSES} are needed"
            f"{f' ({problems})' if problems else ''}"
        )
    remedy = "rename one, or put their images together"
    source = choice.name if labels is None else f"{root / labels.path}, column {labels.label!r}"
    require_distinct(names, source, remedy if labels is None else "write both alike")
    return FolderContents(layout, files, [*tree.remarks, *remarks], labels)


def _by_folder(tree: FolderTree) -> _Folders:
    folders = _Folders([], {path: [] for path in tree.folders if "/" not in path})
    for path in tree.files:
        top, slash, _ = path.partition("/")
        (folders.files[top] if slash else folders.loose).append(path)
    for top, paths in folders.files.items():
        images = [path for path in paths if is_image_name(path)]
        folders.inner[top] = {path.split("/")[1] for path in images if path.count("/") > 1}
        if images:
            folders.has_images.add(top)
    return folders


# Which layout


def _select(
    tree: FolderTree, folders: _Folders, choice: LayoutChoice
) -> "tuple[str, Labels | None]":
    """Return the layout, and the table of labels where the layout is "table".

    Raises:
        UserError: several layouts are possible, or a table's columns must be named.
    """
    if choice.labels is not None:
        return "table", choice.labels
    if choice.layout in {"classes", "splits"}:
        return choice.layout, None
    readings = {} if choice.layout else _folder_readings(folders)
    undivided = all(_is_undivided_split(name, folders) for name in folders.has_images)
    guesses = guess_labels(tree, only_named=bool(readings) and not undivided)
    if guesses:
        readings = {} if undivided else readings
        columns = " or ".join(f"{guess.path}, column {guess.label!r}" for guess in guesses)
        readings["table"] = f"a table gives the classes ({columns})"
    if len(readings) > 1:
        lines = "; ".join(f"{layout}: {reading}" for layout, reading in readings.items())
        raise UserError(
            f"{choice.name} can be read in {len(readings)} ways, choose with {choice.layout_key}: "
            f"{lines}"
        )
    layout = next(iter(readings), choice.layout or "classes")
    if layout != "table":
        return layout, None
    if len(guesses) > 1:
        one_table = len({guess.path for guess in guesses}) == 1
        remedy = (
            "call the right one 'label'"
            if one_table
            else "put the rows into one table, with a column for the split"
        )
        raise UserError(
            f"{choice.name}: several {'columns' if one_table else 'tables'} may give the classes: "
            f"{columns}; {remedy}, or name it in {choice.labels_key}"
        )
    if guesses and not choice.guess:
        columns = ", ".join(f"{key}: {value}" for key, value in guesses[0] if value is not None)
        raise UserError(
            f"{choice.name}: no sub-folders for classes; {guesses[0].path} seems to name the files and "
            f"their classes: set {choice.labels_key}: {{{columns}}}, if these are its columns"
        )
    return layout, guesses[0] if guesses else None


def _folder_readings(folders: _Folders) -> dict[str, str]:
    """Return what the sub-folders can be, by layout; nothing where there are none of images."""
    images = folders.has_images
    splits = sorted(name for name in images if official_split(name))
    unrelated = sorted(images - set(splits))
    classes = f"{_named(sorted(images))} are the classes" if len(images) >= _MIN_CLASSES else ""
    divided = [name for name in splits if len(folders.inner[name]) >= _MIN_CLASSES]
    if not divided:
        readings = {"classes": classes} if classes else {}
        if len(splits) >= _MIN_CLASSES and not unrelated:
            readings["splits"] = (
                f"{_named(splits)} are splits, which must each have a sub-folder for each class, and "
                "have none yet"
            )
        return readings
    inner = sorted({name for split in divided for name in folders.inner[split]})
    reading = f"{_named(splits)} are splits, each with the classes {_named(inner)}"
    if not unrelated:
        return {"splits": reading}
    return {"splits": f"{reading} (left out: {_named(unrelated)})", "classes": classes}


def _is_undivided_split(name: str, folders: _Folders) -> bool:
    """Return whether a folder is called like a split and has no sub-folders of classes."""
    return bool(official_split(name)) and len(folders.inner[name]) < _MIN_CLASSES


def _named(names: list[str]) -> str:
    quoted = [*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])]
    return ", ".join(quoted[:-1]) + f" and {quoted[-1]}" if len(quoted) > 1 else quoted[0]


def _no_table(tree: FolderTree, choice: LayoutChoice) -> str:
    loose = listing([path for path in tree.files if "/" not in path])
    return (
        f"{choice.name}: no table of labels: a CSV, TSV or Parquet file in it with a column of file "
        f"names and a column of classes ({loose} files in the folder itself); name it and its columns "
        f"in {choice.labels_key}"
    )


# The layouts of sub-folders


def _class_files(
    folders: _Folders, choice: LayoutChoice, root: Path
) -> tuple[list[ImageFile], list[str]]:
    names = list(folders.files)
    if len(names) < _MIN_CLASSES:
        inner = [name for name in names if len(folders.inner[name]) >= _MIN_CLASSES]
        hint = f"; {inner[0]} has more: name {root / inner[0]}" if inner else ""
        if folders.loose and not names:
            hint = f"; or a table of the classes of its {len(folders.loose)} files (layout table)"
        raise UserError(
            f"{choice.name} has {len(names)} sub-folders; at least 2 classes are needed, each a "
            f"sub-folder of images{hint}"
        )
    if not any(folders.files.values()):
        raise UserError(f"{choice.name}: its {len(names)} sub-folders contain no files")
    for name, paths in folders.files.items():
        if not paths:
            raise UserError(f"class {name!r} has 0 usable images; add some, or remove its folder")
    files = [ImageFile(path, name) for name, paths in folders.files.items() for path in paths]
    return files, _loose_remarks(folders.loose)


def _split_files(folders: _Folders, choice: LayoutChoice) -> tuple[list[ImageFile], list[str]]:
    """Return the files of the split folders; those in no folder of a class are left out."""
    tops: dict[str, list[str]] = defaultdict(list)
    for name in folders.files:
        tops[official_split(name)].append(name)
    unrelated = tops.pop("", [])
    for split, names in tops.items():
        if len(names) > 1:
            raise UserError(
                f"{choice.name}: {_named(names)} are both folders of {split} data; put their images "
                "together"
            )
    if "train" not in tops:
        raise UserError(
            f"{choice.name}: no folder of training data; the layout splits needs a folder train, with "
            "a sub-folder for each class"
        )
    files, remarks = [], _loose_remarks(folders.loose)
    for split, (top,) in tops.items():
        paths = folders.files[top]
        inside = [path for path in paths if path.count("/") > 1]
        files += [ImageFile(path, path.split("/")[1], split=split) for path in inside]
        if not inside and paths:
            remarks.append(
                f"{top} has {len(paths)} files in no sub-folder of a class, so that their classes are "
                "unknown; they are left out"
            )
        elif len(inside) < len(paths):
            loose = listing([path for path in paths if path.count("/") == 1])
            remarks.append(f"{loose}: files in no sub-folder of a class are left out")
    if len({file.label for file in files if file.split == "train"}) < _MIN_CLASSES:
        raise UserError(
            f"{choice.name}: {tops['train'][0]} needs a sub-folder of images for each of at least 2 "
            "classes"
        )
    if unrelated:
        remarks.append(f"{listing(unrelated)}: folders that are no splits are left out")
    return sorted(files, key=lambda file: file.path.split("/")), remarks


def _loose_remarks(loose: list[str]) -> list[str]:
    if not loose:
        return []
    return [f"{listing(loose)}: files in the folder itself belong to no class and are left out"]
