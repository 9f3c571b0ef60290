"""The files of a folder of images, without hidden and system files."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush
from pathlib import Path

from PIL import Image

from stages.core.errors import UserError
from stages.datasets.images.files import FORMATS
from stages.datasets.problem_kinds import first_few

_SYSTEM_NAMES = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"}
_REMARKS = {  # on kinds of entries
    "system": "hidden or system files and folders are left out",
    "special": "pipes, sockets or devices are left out",
    "circular": "links to a folder above them are left out",
    "repeated": "folders that were read by another path are left out there",
    "linked": "links to folders are followed, but DVC does not notice changes behind them",
}
_LISTED_DEPTH = 2  # of folders
_Waiting = tuple[bool, list[str], frozenset[Path]]  # is a link, its path, the folders above it


@dataclass(frozen=True)
class FolderTree:
    """What a folder holds, at any depth.

    Attributes:
        root: the folder.
        files: their paths below it, with slashes, in order; a broken link counts as a file.
        folders: the paths of the folders in it, and of those in these.
        remarks: sentences on what is left out.
    """

    root: Path
    files: list[str]
    folders: list[str]
    remarks: list[str]


def read_tree(root: Path) -> FolderTree:
    """Return the files below `root`.

    Links to folders are followed, after all other folders, unless they lead back or to a folder that was
    walked already: folders that link to each other do not multiply.

    Raises:
        UserError: a folder cannot be listed.
    """
    files: list[str] = []
    folders: list[str] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    walked: set[Path] = set()
    waiting: list[_Waiting] = [(False, [], frozenset())]
    while waiting:
        is_link, parts, above = heappop(waiting)
        below, place = "/".join(parts), root.joinpath(*parts).resolve()
        if place in walked:
            left_out["repeated"].append(below)
            continue
        walked.add(place)
        if 0 < len(parts) <= _LISTED_DEPTH:
            folders.append(below)
        if is_link:
            left_out["linked"].append(below)
        for name, kind in _entries(root / below, above | {place}):
            path = f"{below}/{name}" if below else name
            if kind == "file":
                files.append(path)
            elif kind in {"folder", "linked"}:
                heappush(waiting, (kind == "linked", [*parts, name], above | {place}))
            else:
                left_out[kind].append(path)
    return FolderTree(root, _ordered(files), _ordered(folders), _remarks(left_out))


def _entries(folder: Path, above: frozenset[Path]) -> Iterator[tuple[str, str]]:
    """Yield each name in a folder, with its kind: file, folder, linked (a folder), or a key of `_REMARKS`.

    Args:
        folder: whose entries are listed.
        above: itself and the folders through which the walk has come, links followed.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name, _kind(entry, above)
    except OSError as error:
        raise UserError(
            f"{folder}: the folder cannot be listed ({error.strerror}); check its permissions"
        ) from None


def _kind(entry: "os.DirEntry[str]", above: frozenset[Path]) -> str:
    if entry.name.startswith(".") or entry.name in _SYSTEM_NAMES:
        return "system"
    if not entry.is_symlink():
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "special"
    target = Path(entry)
    if target.is_dir():
        place = target.resolve()
        leads_back = any(folder.is_relative_to(place) for folder in above)
        return "circular" if leads_back else "linked"
    # A broken link is listed as a file, so that it is reported as unreadable.
    return "file" if target.is_file() or not target.exists() else "special"


def _ordered(paths: list[str]) -> list[str]:
    """Return paths part by part in order, as a listing of the folders shows them."""
    return sorted(paths, key=lambda path: path.split("/"))


def _remarks(left_out: Mapping[str, list[str]]) -> list[str]:
    return [
        f"{listing(left_out[kind])}: {text}" for kind, text in _REMARKS.items() if kind in left_out
    ]


def listing(paths: list[str]) -> str:
    """Return the number of paths, with the first few of them: "3 (a.png, b.png, c.png)"."""
    return f"{len(paths)} ({first_few([escape(path) for path in sorted(paths)])})"


def escape(name: str) -> str:
    r"""Return a name with characters that cannot be printed, and backslashes, escaped: `\n`."""
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in name
    )


def is_image_name(path: str) -> bool:
    """Return whether a file's name ends as those of images do, or has no ending."""
    stem, _, ending = path.rpartition("/")[2].rpartition(".")
    return not stem or f".{ending.lower()}" in _image_endings()


@cache
def _image_endings() -> frozenset[str]:
    return frozenset(
        ending for ending, form in Image.registered_extensions().items() if form in FORMATS
    )
