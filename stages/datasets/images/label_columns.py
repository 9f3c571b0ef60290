"""Guesses at tables of labels: which column names the files, which one their classes."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from stages.core.errors import UserError
from stages.core.schema import Labels
from stages.datasets.class_names import MAX_CLASSES
from stages.datasets.images.folder_tree import FolderTree
from stages.datasets.images.label_table import file_finder
from stages.datasets.tables.reading import SUFFIXES, Table, find_tables, official_split

_SAMPLED_ROWS, _SAMPLED_TABLES = 500, 5
_NAMES_FILES = 0.5  # share of the sampled rows whose files exist, from which a column names files
_SAYS_FOLDER = 0.9  # share of rows whose label is a folder of the file: the table says nothing new
_LABEL_NAMES = re.compile(
    r"(label|class|category|target|diagnosis|dx|species|breed|kind|type|y)([ _-]?(name|id))?s?",
    re.IGNORECASE,
)
_GROUP_NAMES = re.compile(
    r"(group|patient|subject|person|writer|lesion|scene|site|session|case|animal|plant)([ _-]?(id|no|nr))?",
    re.IGNORECASE,
)


def guess_labels(tree: FolderTree, *, only_named: bool) -> list[Labels]:
    """Return the tables in a folder that name its files and their classes.

    Where a table has several columns that may be the classes, each makes an entry; a column that is called
    like one (label, class, diagnosis) comes before all others. A table whose labels are the names of the
    files' folders does not count: it says nothing new.

    Args:
        tree: of the folder.
        only_named: only columns that are called like classes count.
    """
    paths = [path for path in tree.files if path.lower().endswith(SUFFIXES)]
    guesses: list[Labels] = []
    for path in sorted(paths, key=lambda path: path.count("/"))[:_SAMPLED_TABLES]:
        try:
            (table,) = find_tables(tree.root / path, "prepare.labels")
            guesses += _guess_columns(table, path, file_finder(tree, path), only_named=only_named)
        except UserError:  # no table of labels, then
            continue
    return guesses


def _guess_columns(
    table: Table, path: str, resolve: Callable[[str], Sequence[str]], *, only_named: bool
) -> list[Labels]:
    header = table.header()
    rows = [row.cells for row in islice(table.rows(), _SAMPLED_ROWS) if row.cells]
    if len(rows) < 2 or len(set(header)) < max(2, len(header)):  # noqa: PLR2004
        return []
    columns = {name: [cells[index].strip() for cells in rows] for index, name in enumerate(header)}
    shares = {
        name: sum(len(resolve(cell)) == 1 for cell in cells if cell) / len(rows)
        for name, cells in columns.items()
    }
    file = max(shares, key=lambda name: shares[name])
    if shares[file] < _NAMES_FILES:
        return []
    paths = [resolve(cell) for cell in columns.pop(file)]
    split = next((name for name, cells in columns.items() if _are_splits(cells)), None)
    group = next((name for name in columns if _GROUP_NAMES.fullmatch(name.strip())), None)
    labels = [name for name in columns if name and name not in {split, group}]
    labels = [name for name in labels if _may_be_classes(columns[name])]
    by_name = [name for name in labels if _LABEL_NAMES.fullmatch(name.strip())]
    by_name = _without_synonyms({name: columns[name] for name in by_name})
    if any(_repeats_folders(paths, columns[name]) for name in by_name or labels):
        return []
    return [
        Labels(path=path, file=file, label=label, group=group, split=split)
        for label in (by_name or ([] if only_named else labels))
    ]


def _are_splits(cells: Sequence[str]) -> bool:
    return any(cells) and all(official_split(cell) for cell in cells if cell)


def _may_be_classes(cells: Sequence[str]) -> bool:
    classes = len({cell for cell in cells if cell})
    return 2 <= classes <= min(MAX_CLASSES, max(2, len(cells) // 2))  # noqa: PLR2004


def _without_synonyms(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of columns; of those that divide the rows alike (class_id, class_name), one."""
    divisions: dict[tuple[int, ...], str] = {}
    for name, cells in columns.items():
        first = {cell: number for number, cell in reversed([*enumerate(cells)])}
        division = tuple(first[cell] for cell in cells)
        if division not in divisions or columns[divisions[division]][0].isnumeric():
            divisions[division] = name
    return list(divisions.values())


def _repeats_folders(paths: Sequence[Sequence[str]], labels: Sequence[str]) -> bool:
    """Return whether labels are the names of the files' folders, or other names for these."""
    rows = [
        (path[0].split("/")[:-1], label) for path, label in zip(paths, labels, strict=True) if path
    ]
    same = sum(label in folders for folders, label in rows)
    pairs = {("/".join(folders), label) for folders, label in rows}
    folder_names, classes = ({pair[index] for pair in pairs} for index in (0, 1))
    one_to_one = len(pairs) == len(folder_names) == len(classes)
    return same >= _SAYS_FOLDER * len(rows) or (one_to_one and len(pairs) > 1)
