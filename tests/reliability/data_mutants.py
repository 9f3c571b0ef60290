"""Mutations of tables and of folders of images, drawn from a seed."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from support.images import png_claiming

from reliability.text_mutants import BYTE_CHANGES, FILE_CHANGES

CELLS = [
    "", " ", '"', '""', '"a', 'a"b', "=1+1", "@x", "\x1b[31m", "\0", "\u202e", "NaN", "null", "x" * 200_000,
    "a\rb", "\ufeff", "../../x.png", "/dev/zero", "/etc/passwd", "label", "text", "file", "test", "9" * 400,
    ",,,,,", "\t\t\t", "\ud7ff", "cafe\u0301", "\u3000", "train", "a\\", "<script>", "b/0.png",
]  # fmt: skip
FILE_NAMES = [
    "a\nb.png", "\x1b[31m.png", "<script>.png", "'\".png", ".hidden.png", "x.PNG", "x.txt", "x", "=1+1.png",
    "%s.png", "-rf.png", "\u202egnp.png", "x" * 250 + ".png", "Thumbs.db", "x.tar.gz", "cafe\u0301.png",
    os.fsdecode(b"caf\xe9.png"),
]  # fmt: skip
CLASS_NAMES = [
    "=1+1", "<script>", "a\nb", " a", "A", "\x1b]0;x\x07", "nan", "0", "\u202eb", "cafe\u0301", "x" * 200,
    ".hidden", os.fsdecode(b"caf\xe9"),
]  # fmt: skip
LINK_TARGETS = ["nowhere", "..", ".", "/dev/zero", "/etc/passwd"]
SIDES = [0, 1, 60_000, 2**31 - 1]
CELL_CHANGES = [
    *("a cell", "a cell", "a column", "no column", "a row", "few rows", "one value", "order"),
]
TABLES = {".csv", ".tsv", ".parquet"}


def mutate_cells(text: str, separator: str, draw: random.Random) -> tuple[str, str]:
    """Return the name of a mutation, and a table after it: a cell, a column or rows are others."""
    rows = [row.split(separator) for row in text.rstrip("\n").split("\n")]
    row = 0 if draw.random() < 0.4 else draw.randrange(len(rows))
    column, cell = draw.randrange(len(rows[row])), draw.choice(CELLS)
    change = draw.choice(CELL_CHANGES)
    if change == "a cell":
        rows[row][column] = cell
    elif change == "a column":
        rows = [[*cells, cell] for cells in rows]
    elif change == "no column":
        rows = [cells[:column] + cells[column + 1 :] for cells in rows]
    elif change == "a row":
        rows.insert(row, [cell] * draw.randint(0, 5))
    elif change == "few rows":
        rows = rows[: draw.randint(0, 4)]
    elif change == "one value":
        rows = [rows[0], *[[cell, *cells[1:]] for cells in rows[1:]]]
    else:
        draw.shuffle(rows)
    return change, "\n".join(separator.join(cells) for cells in rows) + "\n"


def mutate_table(path: Path, draw: random.Random) -> str:
    """Change a table on disk; return what was done."""
    data = path.read_bytes()
    kind = draw.random() if path.suffix != ".parquet" else 1.0
    try:
        text = data.decode() if kind < 0.8 else ""
    except UnicodeDecodeError:  # it was changed before
        text = ""
    if text and kind < 0.6:
        change, text = mutate_cells(text, "\t" if path.suffix == ".tsv" else ",", draw)
        path.write_bytes(text.encode())
        return f"{change} in {path.name}"
    if text:
        file_change = draw.choice(FILE_CHANGES)
        path.write_bytes(file_change(text, draw))
        return f"{file_change.__name__} {path.name}"
    change_bytes = draw.choice(BYTE_CHANGES)
    path.write_bytes(change_bytes(data, draw))
    return f"{change_bytes.__name__} {path.name}"


def mutate_folder(folder: Path, draw: random.Random) -> str:
    """Change a folder of images: bytes or the type of a file, names, links, pipes; return what was done."""
    files = sorted(path for path in folder.rglob("*.png") if path.is_file())
    if not files:
        return "nothing: no file is left"
    path, change = draw.choice(files), draw.choice(FOLDER_CHANGES)
    change(path, draw)
    return f"{change.__name__} {path.relative_to(folder)}"


def rewrite(path: Path, draw: random.Random) -> None:
    """Change bytes."""
    path.write_bytes(draw.choice(BYTE_CHANGES)(path.read_bytes(), draw))


def rewrite_all(path: Path, draw: random.Random) -> None:
    """Change bytes of every file of the class."""
    for file in sorted(path.parent.iterdir()):
        if file.is_file():
            rewrite(file, draw)


def empty(path: Path, _: random.Random) -> None:
    """Empty a file."""
    path.write_bytes(b"")


def claim_size(path: Path, draw: random.Random) -> None:
    """Let a small file claim another size."""
    path.write_bytes(png_claiming(draw.choice(SIDES), draw.choice(SIDES)))


def turn_into_pipe(path: Path, _: random.Random) -> None:
    """Put a named pipe in the place of a file."""
    path.unlink()
    os.mkfifo(path)


def turn_into_folder(path: Path, _: random.Random) -> None:
    """Put an empty folder in the place of a file."""
    path.unlink()
    path.mkdir()


def turn_into_link(path: Path, draw: random.Random) -> None:
    """Put a symbolic link in the place of a file."""
    path.unlink()
    path.symlink_to(draw.choice([*LINK_TARGETS, path.name, str(path.parent)]))


def rename_file(path: Path, draw: random.Random) -> None:
    """Rename a file."""
    path.rename(path.with_name(draw.choice(FILE_NAMES)))


def rename_class(path: Path, draw: random.Random) -> None:
    """Rename the folder of a class."""
    path.parent.rename(path.parent.with_name(draw.choice(CLASS_NAMES)))


def delete_class(path: Path, _: random.Random) -> None:
    """Delete the folder of a class."""
    shutil.rmtree(path.parent)


def empty_class(path: Path, _: random.Random) -> None:
    """Delete the files of a class."""
    shutil.rmtree(path.parent)
    path.parent.mkdir()


def add_loose_file(path: Path, draw: random.Random) -> None:
    """Put a copy beside the folders of the classes."""
    shutil.copy(path, path.parent.parent / draw.choice(["loose.png", "labels.csv", "README.md"]))


def move_deeper(path: Path, draw: random.Random) -> None:
    """Move a file into a sub-folder of its class."""
    folder = path.parent / draw.choice(["train", "test", "deep", ".git"])
    folder.mkdir(exist_ok=True)
    path.rename(folder / path.name)


def repeat(path: Path, _: random.Random) -> None:
    """Make all files of a class copies of one."""
    for file in path.parent.iterdir():
        if file.is_file() and file != path:
            shutil.copy(path, file)


FOLDER_CHANGES: list[Callable[[Path, random.Random], None]] = [
    *(rewrite, rewrite_all, empty, claim_size, turn_into_pipe, turn_into_folder, turn_into_link),
    *(rename_file, rename_class, delete_class, empty_class, add_loose_file, move_deeper, repeat),
]
