"""The files of an archive: their names, and a ZIP file of them that has the same bytes each time.

The ZIP is not compressed: what a compressor writes depends on its version, and a file that is as large as
its contents cannot be a decompression bomb. Members are in the order of their names and have no times.
"""

import hashlib
import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from stages.core.errors import UserError
from stages.core.files import atomic_writer
from stages.core.progress import progress

FORMAT = "evidence-archive-1"
DESCRIPTION, MANIFEST, COMMIT, README = "archive.json", "manifest-sha256.txt", "commit", "README.md"
CRATE = "ro-crate-metadata.json"
FILES = frozenset({DESCRIPTION, MANIFEST, COMMIT, README, CRATE})
REPOSITORY, CACHE, TASKS, WHEELS = "repository/", "cache/", "tasks/", "wheels/"
FOLDERS = (REPOSITORY, CACHE, TASKS, WHEELS)

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP can state
_UNIX = 3
_MAX_NAME = 4096  # bytes, as PATH_MAX of Linux
_MAX_PART = 255  # bytes, as NAME_MAX
_CACHE_OBJECT = re.compile(r"cache/(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file of an archive.

    Attributes:
        name: its path in the archive.
        content: its bytes, or the file that holds them.
        executable: whether it can be run.
    """

    name: str
    content: bytes | Path
    executable: bool = False

    def open(self) -> BinaryIO:
        """Return a stream of the content."""
        return BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    @cached_property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the content, as hexadecimal digits."""
        with self.open() as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]


def name_problem(name: str) -> str:
    """Return why a path cannot be in an archive, "" if it can.

    It must name a place below the folder into which it is unpacked, on every system, and none of git's
    own files or of DVC's cache in the repository.
    """
    from dulwich.index import validate_path, validate_path_element_hfs, validate_path_element_ntfs

    parts = name.split("/")
    raw = name.encode("utf-8", "surrogateescape")
    problem = ""
    if not name.isprintable() or "\\" in name:
        problem = "has a backslash or a character that cannot be printed"
    elif len(raw) > _MAX_NAME or any(len(part.encode()) > _MAX_PART for part in parts):
        problem = "is too long"
    elif {"", ".", ".."} & {*parts}:
        problem = "leads out of its folder, or is not in its simplest form"
    elif not all(
        validate_path(raw, check)
        for check in (validate_path_element_ntfs, validate_path_element_hfs)
    ):
        problem = "is reserved by git or by an operating system"
    elif name not in FILES and not name.startswith(FOLDERS):
        problem = "is no part of an archive"
    elif name.startswith(CACHE) and not _CACHE_OBJECT.fullmatch(name):
        problem = "is no object of a DVC cache"
    elif name.startswith(
        tuple(f"{REPOSITORY}.dvc/{prefix}" for prefix in ("cache/", "tmp/", "config."))
    ):
        problem = "is in a place of DVC's own that git should not hold"
    return problem


def manifest(members: Sequence[Member]) -> bytes:
    """Return the SHA-256 of each member, as the program sha256sum writes and checks it."""
    lines = [f"{member.sha256}  {member.name}\n" for member in sorted(members, key=_name)]
    return "".join(lines).encode()


def _name(member: Member) -> str:
    return member.name


def write_archive(path: Path, members: Sequence[Member]) -> None:
    """Write an archive of members and their manifest; the same members give the same bytes.

    Raises:
        UserError: a name is not allowed or occurs twice, or a file changes while it is read.
    """
    members = sorted([*members, Member(MANIFEST, manifest(members))], key=_name)
    names = [member.name for member in members]
    for name, following in zip(names, [*names[1:], ""], strict=True):
        problem = name_problem(name) or ("occurs twice" if name == following else "")
        if problem:
            raise UserError(f"{name}: this name {problem}; rename the file and commit")
    with atomic_writer(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in progress(members, "archive"):
            _add(archive, member)


def _add(archive: zipfile.ZipFile, member: Member) -> None:
    info = zipfile.ZipInfo(member.name, _TIME)
    info.create_system = _UNIX
    info.external_attr = (stat.S_IFREG | (0o755 if member.executable else 0o644)) << 16
    info.file_size = member.size
    digest = hashlib.sha256()
    with member.open() as source, archive.open(info, "w") as target:
        while block := source.read(_BLOCK):
            digest.update(block)
            target.write(block)
    if digest.hexdigest() != member.sha256:
        raise UserError(f"{member.name} has changed while it was archived; run it again")
