"""A table of labels: each row names an image file and its class, perhaps its group and its split."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.datasets.images.folder_tree import FolderTree, is_image_name, listing
from stages.datasets.images.sample import ImageFile
from stages.datasets.tables.csv_files import Row
from stages.datasets.tables.faults import NO_GROUP, NO_LABEL, SPLIT, Fault, quote
from stages.datasets.tables.reading import Table, column_indices, find_tables, official_split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stages.core.schema import Labels

NO_FILE, MISSING, AMBIGUOUS = "no file name", "no such file", "several such files"
REPEATED, CONTRADICTION = "file in two rows", "file in two classes"


def labelled_files(
    tree: FolderTree, labels: "Labels", key: str
) -> tuple[list[ImageFile], list[str]]:
    """Return the files that a table names, and each row that cannot be used, in order; and remarks.

    A cell names a file by its path below the folder or below the table's folder, or by the end of its
    path, down to the bare name; the ending (.png) may be missing.

    Args:
        tree: of the folder.
        labels: the table and its columns.
        key: of the section labels, for messages.

    Raises:
        UserError: the table cannot be read, or lacks a column.
    """
    table = open_table(tree.root, labels, key)
    resolve = file_finder(tree, labels.path)
    indices = label_indices(table, labels, key)
    rows: dict[str, list[tuple[Row, ImageFile]]] = defaultdict(list)
    unusable: list[ImageFile] = []
    for row in table.rows():
        file = _row_file(row, indices, resolve)
        if file.problem:
            unusable.append(_of_row(labels, row, file.label, file.problem))
        else:
            rows[file.path].append((row, file))
    files: list[ImageFile] = []
    for same in rows.values():
        usable, rest = _one_for_each_file(same, labels)
        files += usable
        unusable += rest
    missing = [path for path in tree.files if path not in rows and is_image_name(path)]
    remarks = (
        [f"{listing(missing)}: files in no row of {labels.path} are left out"] if missing else []
    )
    return [*sorted(files, key=lambda file: file.path.split("/")), *unusable], remarks


def open_table(root: Path, labels: "Labels", key: str) -> Table:
    """Return the table of labels.

    Raises:
        UserError: it cannot be read, or its separator is not clear.
    """
    path = root / labels.path
    if not path.is_file():
        raise UserError(f"{key}.path: given {labels.path!r}; no such file in {root}")
    return find_tables(path, key, labels.separator)[0]


def label_indices(table: Table, labels: "Labels", key: str) -> dict[str, int]:
    """Return the index of each column that the params name: "file", "label", "group", "split".

    Raises:
        UserError: one is missing, or the header has it twice.
    """
    names = {name: getattr(labels, name) for name in ("file", "label", "group", "split")}
    names = {name: column for name, column in names.items() if column is not None}
    indices = column_indices(table, {f"{key}.{name}": column for name, column in names.items()})
    return {name: indices[column] for name, column in names.items()}


def _row_file(
    row: Row, indices: dict[str, int], resolve: Callable[[str], "Sequence[str]"]
) -> ImageFile:
    """Return the file that a row names, or its label and problem."""
    if row.fault:
        return ImageFile("", "", problem=str(row.fault))
    cells = {name: row.cells[index].strip() for name, index in indices.items()}
    paths, split = resolve(cells["file"]), official_split(cells.get("split", ""))
    quoted = quote(cells["file"])
    faults = (
        (not cells["file"], Fault(NO_FILE)),
        (not paths, Fault(MISSING, quoted)),
        (len(paths) > 1, Fault(AMBIGUOUS, f"{quoted} is {' and '.join(paths[:2])}")),
        (not cells["label"], Fault(NO_LABEL, quoted)),
        (not cells.get("group", "-"), Fault(NO_GROUP, quoted)),
        (bool(cells.get("split")) and not split, Fault(SPLIT, quote(cells.get("split", "")))),
    )
    problem = next((str(fault) for broken, fault in faults if broken), "")
    path = "" if problem else paths[0]
    return ImageFile(path, cells["label"], cells.get("group", ""), split, problem)


def _one_for_each_file(
    rows: list[tuple[Row, ImageFile]], labels: "Labels"
) -> tuple[list[ImageFile], list[ImageFile]]:
    """Return the file that the rows name if they agree, and the rows that cannot be used."""
    (first, file), *repeated = rows
    if any(entry != file for _, entry in repeated):
        classes = " and ".join(sorted({entry.label for _, entry in rows}))
        kind = CONTRADICTION if " and " in classes else "file in two groups or splits"
        problem = str(Fault(kind, f"{file.path} ({classes})"))
        return [], [_of_row(labels, row, entry.label, problem) for row, entry in rows]
    problem = str(Fault(REPEATED, f"{file.path}, as row {first.number}"))
    return [file], [_of_row(labels, row, entry.label, problem) for row, entry in repeated]


def _of_row(labels: "Labels", row: Row, label: str, problem: str) -> ImageFile:
    return ImageFile(f"{labels.path} row {row.number}", label, problem=problem)


def file_finder(tree: FolderTree, table: str) -> Callable[[str], "Sequence[str]"]:
    """Return a function from a cell of the table at `table` to the paths of the files that it can name."""
    exact = set(tree.files)
    folder = f"{PurePosixPath(table).parent}/" if "/" in table else ""
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in tree.files:
        if path != table:
            name = path.rpartition("/")[2]
            for key in {name, name.rpartition(".")[0] or name}:
                by_name[key].append(path)

    def find(cell: str) -> "Sequence[str]":
        cell = cell.replace("\\", "/").removeprefix("./")
        for path in (folder + cell, cell):
            if path in exact:
                return [path]
        candidates = by_name.get(cell.rpartition("/")[2], [])
        paths = [path for path in candidates if _ends_with(path, cell)]
        paths = paths or [path for path in candidates if _ends_with(cell, path)]
        images = [path for path in paths if is_image_name(path)]
        return images if len(paths) > 1 and images else paths

    return find


def _ends_with(path: str, end: str) -> bool:
    """Return whether `end` is the end of a path, part by part; either may lack its ending (.png)."""
    parts, ends = path.split("/"), end.split("/")
    if parts[-1] != ends[-1]:
        shorter, longer = sorted((parts[-1], ends[-1]), key=len)
        if longer.rpartition(".")[0] != shorter:
            return False
    return parts[-len(ends) : -1] == ends[:-1]
