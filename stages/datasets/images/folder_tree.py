"""The files of a folder of images, without hidden and system files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stages.core.errors import UserError
from stages.datasets.images.files import FORMATS

_SYSTEM_NAMES = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"}
_SHOWN = 3  # names that a remark quotes


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
    """Return the files below `root`. Links to folders are followed, unless they lead back.

    Raises:
        UserError: a folder cannot be listed.
    """
    files: list[str] = []
    folders: list[str] = []
    left_out: dict[str, list[str]] = {"system": [], "special": [], "circular": [], "linked": []}
    for folder, names, file_names in _walk(root, left_out):
        prefix = f"{folder}/" if folder else ""
        files += [prefix + name for name in file_names]
        if "/" not in folder:
            folders += [prefix + name for name in names]
    return FolderTree(root, _ordered(files), _ordered(folders), _remarks(left_out))


def _ordered(paths: list[str]) -> list[str]:
    """Return paths part by part in order, as a listing of the folders shows them."""
    return sorted(paths, key=lambda path: path.split("/"))


def _walk(root: Path, left_out: dict[str, list[str]]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder's path below `root`, the names of its folders, and those of its files."""

    def fail(error: OSError) -> None:
        raise UserError(
            f"{error.filename}: the folder cannot be listed ({error.strerror}); check its permissions"
        )

    for folder, folders, files in os.walk(root, onerror=fail, followlinks=True):
        path = Path(folder)
        below = path.relative_to(root).as_posix() if path != root else ""
        reasons: dict[str, str] = {}
        for name in (*folders, *files):
            if name.startswith(".") or name in _SYSTEM_NAMES:
                reasons[name] = "system"
        for name in set(folders) - set(reasons):
            if (path / name).is_symlink():
                back = path.resolve().is_relative_to((path / name).resolve())
                reasons[name] = "circular" if back else "linked"
        for name in set(files) - set(reasons):
            if not (path / name).is_file() and (path / name).exists():
                reasons[name] = "special"
        for name, reason in reasons.items():
            left_out[reason].append(f"{below}/{name}" if below else name)
        folders[:] = [name for name in folders if reasons.get(name, "linked") == "linked"]
        yield below, folders, [name for name in files if name not in reasons]


def _remarks(left_out: dict[str, list[str]]) -> list[str]:
    texts = {
        "system": "hidden or system files and folders are left out",
        "special": "pipes, sockets or devices are left out",
        "circular": "links to a folder above them are left out",
        "linked": "links to folders are followed, but DVC does not notice changes behind them",
    }
    return [f"{listing(left_out[key])}: {text}" for key, text in texts.items() if left_out[key]]


def listing(paths: list[str]) -> str:
    """Return the number of paths, with the first few of them: "3 (a.png, b.png, c.png)"."""
    shown = ", ".join(escape(path) for path in sorted(paths)[:_SHOWN])
    return f"{len(paths)} ({shown}{', ...' if len(paths) > _SHOWN else ''})"


def escape(name: str) -> str:
    r"""Return a name with characters that cannot be printed, and backslashes, escaped: `\n`."""
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in name
    )


def image_suffixes() -> frozenset[str]:
    """Return the endings of image files that can be read, in lower case, and "" for none."""
    endings = Image.registered_extensions().items()
    return frozenset(["", *(ending for ending, form in endings if form in FORMATS)])
