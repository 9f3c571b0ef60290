"""What DVC keeps in its cache for a commit: the outputs that dvc.lock and .dvc files name."""

import hashlib
import json
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.tools.archive.members import CACHE, Member
from stages.tools.archive.revision import Revision

LOCK = "dvc.lock"
_POINTER = ".dvc"
_FOLDER = ".dir"
_MODERN = "files/md5/"  # DVC 3; before, objects lay in the cache itself
_HASH = frozenset("0123456789abcdef")
_MD5_LENGTH = 32


@dataclass(frozen=True)
class Output:
    """A file or folder that DVC keeps in its cache.

    Attributes:
        stage: that made it (`train@image`), or the .dvc file that names it.
        path: in the repository.
        md5: by which DVC names it; of a folder it ends in `.dir`.
        modern: whether it lies where DVC 3 keeps it.
    """

    stage: str
    path: str
    md5: str
    modern: bool = True

    def member(self, md5: str) -> str:
        """Return the place of one of its objects in the archive."""
        return f"{CACHE}{_MODERN if self.modern else ''}{md5[:2]}/{md5[2:]}"


@dataclass(frozen=True)
class CachedFile:
    """A file of an output: its path in the repository, and the object that holds it."""

    path: str
    member: Member


def locked_stages(revision: Revision) -> dict[str, dict[str, Any]]:
    """Return the entries of dvc.lock by the name of the stage."""
    stages = revision.yaml(LOCK).get("stages") or {}
    if not isinstance(stages, dict):
        raise UserError(f"{LOCK}: stages must be a mapping; run `dvc repro`")
    return {str(name): entry for name, entry in stages.items() if isinstance(entry, dict)}


def locked_outputs(revision: Revision, stage: str) -> list[Output]:
    """Return the outputs of a stage that are not in git."""
    entries = locked_stages(revision).get(stage, {}).get("outs") or []
    outputs = [_output(stage, "", entry) for entry in entries]
    return [output for output in outputs if not in_git(revision, output.path)]


def tracked_outputs(revision: Revision) -> list[Output]:
    """Return the data that .dvc files name."""
    outputs = []
    for name in sorted(revision.files):
        if name.endswith(_POINTER) and posixpath.basename(name) != _POINTER:
            content = revision.yaml(name)
            folder = posixpath.join(posixpath.dirname(name), str(content.get("wdir") or ""))
            outputs += [_output(name, folder, entry) for entry in content.get("outs") or []]
    return [output for output in outputs if not in_git(revision, output.path)]


def in_git(revision: Revision, path: str) -> bool:
    """Return whether a path is a file of the commit, or a folder with such files."""
    return path in revision.files or any(name.startswith(f"{path}/") for name in revision.files)


def _output(stage: str, folder: str, entry: Mapping[str, Any]) -> Output:
    """Return an output from its entry in dvc.lock or in a .dvc file.

    Raises:
        UserError: it is no such entry, or DVC does not name it by an MD5.
    """
    path = posixpath.normpath(posixpath.join(folder, str(entry.get("path"))))
    md5 = str(entry.get("md5") or "")
    if len(md5.removesuffix(_FOLDER)) != _MD5_LENGTH or not {*md5.removesuffix(_FOLDER)} <= _HASH:
        raise UserError(
            f"{stage}: {path} has no MD5, so it is not in DVC's cache; run `dvc commit` and commit the file"
        )
    return Output(stage, path, md5, entry.get("hash") == "md5")


def cached_files(
    cache: Path, output: Output, names: Collection[str] | None = None
) -> Iterator[CachedFile]:
    """Yield the files of an output; of a folder, first the listing of its files, as DVC keeps it.

    Args:
        cache: the folder of DVC's cache.
        output: the output.
        names: of a folder, the files to yield, by their path in it; None: all.

    Raises:
        UserError: one of them is not in the cache, or is damaged there.
    """
    first = _cached(cache, output, output.md5)
    yield CachedFile(output.path, first)
    if output.md5.endswith(_FOLDER):
        for path, md5 in listing(first.content, output):
            if names is None or path in names:
                yield CachedFile(f"{output.path}/{path}", _cached(cache, output, md5))


def listing(content: bytes | Path, output: Output) -> list[tuple[str, str]]:
    """Return path and MD5 of each file of a folder, from DVC's own listing.

    Raises:
        UserError: it is no listing.
    """
    text = content if isinstance(content, bytes) else content.read_bytes()
    try:
        return [(str(entry["relpath"]), str(entry["md5"])) for entry in json.loads(text)]
    except (LookupError, RecursionError, TypeError, ValueError):
        raise UserError(
            f"{output.path}: {output.md5} in the cache lists no files; {_fetch(output)}"
        ) from None


def _cached(cache: Path, output: Output, md5: str) -> Member:
    name = output.member(md5)
    path = cache / name.removeprefix(CACHE)
    if not path.is_file():
        raise UserError(f"{output.path} ({output.stage}) is not in DVC's cache; {_fetch(output)}")
    # DVC 2 hashed text with other line ends: those objects cannot be checked by their name.
    if output.modern and _md5(path) != md5.removesuffix(_FOLDER):
        raise UserError(
            f"{output.path} ({output.stage}) is damaged in DVC's cache; delete {path.name} there, and "
            f"{_fetch(output)}"
        )
    return Member(name, path)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetch(output: Output) -> str:
    return f"fetch it with `dvc pull {output.stage}`, or make it with `dvc repro`"


def unique_members(files: Sequence[CachedFile]) -> list[Member]:
    """Return the objects of files, once each: files with the same content share one."""
    return [*{file.member.name: file.member for file in files}.values()]
