"""Read an archive that may come from anybody: check it whole before anything of it is written.

It must be a ZIP of uncompressed plain files with allowed names, once each, as its manifest lists them.
"""

import json
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from stages.core.errors import UserError
from stages.tools.archive.members import (
    DESCRIPTION,
    FILES,
    FORMAT,
    MANIFEST,
    REPOSITORY,
    name_problem,
)
from stages.tools.archive.revision import EXECUTABLE, LINK

MAX_FILES = 2_000_000
_MAX_DIRECTORY = 400_000_000  # bytes of the ZIP's directory, which is read into memory
_MAX_DESCRIPTION = 64_000_000  # bytes of archive.json: it names executables and links
_ENCRYPTED = 1
_MODES = {"100755": EXECUTABLE, "120000": LINK}
_OBJECT_FORMATS = {"sha1": 40, "sha256": 64}  # digits of a commit's hash
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
# The end of a ZIP (APPNOTE 4.3.14 to 4.3.16): record and locator of ZIP64, then the record of old.
_END, _LOCATOR, _END64 = 22, 20, 56
# What reading a damaged ZIP raises.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    ValueError,
)


@dataclass(frozen=True)
class Index:
    """What an archive states about its files.

    Attributes:
        commit: the hash of the commit.
        object_format: sha1 or sha256, by which git names objects.
        modes: of the executables and links, by their path in the repository.
        hashes: the SHA-256 of each member but the manifest.
        size: of all members together, in bytes.
    """

    commit: str
    object_format: str
    modes: Mapping[str, int]
    hashes: Mapping[str, str]
    size: int


def read_index(path: Path, archive: zipfile.ZipFile) -> Index:
    """Return the index of an open archive.

    Raises:
        UserError: it is damaged, or holds what an archive must not hold.
    """
    sizes = _check_members(path, archive)
    hashes = _read_manifest(path, archive, sizes)
    return _read_description(path, archive, hashes, sum(sizes.values()))


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; turn what a damaged one raises into one line."""
    try:
        with path.open("rb") as file:
            _check_directory(path, file)
            with zipfile.ZipFile(file) as archive:
                yield archive
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror or error}") from None
    except _DAMAGED as error:
        raise damaged(path, str(error) or type(error).__name__) from None


def damaged(path: Path, reason: str) -> UserError:
    """Return the error that a file is no archive, or a damaged one."""
    return UserError(
        f"{path} is no archive of `evidence archive`, or is damaged: {reason}; fetch it again"
    )


def _check_directory(path: Path, file: BinaryIO) -> None:
    """Check the size of the ZIP's directory, and that nothing follows it."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END - _LOCATOR - _END64))
    tail = file.read()
    end = tail[-_END:]
    if len(end) < _END or end[:4] != b"PK\5\6":
        raise damaged(path, "no ZIP ends here")
    (directory,) = struct.unpack_from("<L", end, 12)
    if tail[-_END - _LOCATOR :][:4] == b"PK\6\7":
        (directory,) = struct.unpack_from("<Q", tail, 40)
    if directory > min(_MAX_DIRECTORY, size):
        raise damaged(path, f"its directory has {directory:,} bytes")


def _check_members(path: Path, archive: zipfile.ZipFile) -> dict[str, int]:
    """Return the size of each member by its name.

    Raises:
        UserError: one of them is no plain file, its name is not allowed or occurs twice, or they are too
            many, or larger than the archive.
    """
    members = archive.infolist()
    if len(members) > MAX_FILES:
        raise damaged(path, f"{len(members):,} files, at most {MAX_FILES:,} are allowed")
    sizes: dict[str, int] = {}
    for member in members:
        problem = name_problem(member.filename) or _form_problem(member)
        if member.filename in sizes:
            problem = "occurs twice"
        if problem:
            raise damaged(path, f"the file name {member.filename!r} {problem}")
        sizes[member.filename] = member.file_size
    if sum(sizes.values()) > path.stat().st_size:
        raise damaged(path, "its files are larger than the archive")
    _check_folders(path, sizes)
    missing = FILES - sizes.keys()
    if missing:
        raise damaged(path, f"it has no {min(missing)}")
    return sizes


def _form_problem(member: zipfile.ZipInfo) -> str:
    """Return why a member is not stored as an archive stores files, "" if it is."""
    if member.orig_filename != member.filename:
        return "holds a NUL character"
    if not stat.S_ISREG(member.external_attr >> 16) or member.is_dir():
        return "is no plain file"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        return "is compressed"
    return ""


def _check_folders(path: Path, names: Mapping[str, int]) -> None:
    """Check that no file has the name of a folder."""
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in names:
                raise damaged(path, f"{'/'.join(parts[:depth])!r} is a file and a folder")


def _read_manifest(
    path: Path, archive: zipfile.ZipFile, sizes: Mapping[str, int]
) -> dict[str, str]:
    """Return the SHA-256 of each member but the manifest, by its name."""
    hashes = {}
    for line in archive.read(MANIFEST).decode().split("\n")[:-1]:
        match = _LINE.fullmatch(line)
        if not match:
            raise damaged(path, f"{MANIFEST} has the line {line[:100]!r}")
        hashes[match[2]] = match[1]
    unlisted = sorted(hashes.keys() ^ (sizes.keys() - {MANIFEST}))
    if unlisted:
        raise damaged(path, f"{unlisted[0]} is in the archive or in {MANIFEST}, not in both")
    return hashes


def _read_description(
    path: Path, archive: zipfile.ZipFile, hashes: Mapping[str, str], size: int
) -> Index:
    if archive.getinfo(DESCRIPTION).file_size > _MAX_DESCRIPTION:
        raise damaged(path, f"{DESCRIPTION} is too large")
    try:
        content: dict[str, Any] = dict(json.loads(archive.read(DESCRIPTION)))
    except (RecursionError, TypeError, ValueError):
        raise damaged(path, f"{DESCRIPTION} is no JSON") from None
    if content.get("format") != FORMAT:
        raise damaged(path, f"its format is {content.get('format')!r}, this program reads {FORMAT}")
    commit, object_format = content.get("commit"), content.get("object_format")
    digits = _OBJECT_FORMATS.get(str(object_format), 0)
    if (
        not isinstance(commit, str)
        or not re.fullmatch(f"[0-9a-f]{{{digits}}}", commit)
        or not digits
    ):
        raise damaged(path, f"{DESCRIPTION} names no commit")
    modes = content.get("modes")
    if not isinstance(modes, dict) or not all(
        f"{REPOSITORY}{name}" in hashes and isinstance(mode, str) and mode in _MODES
        for name, mode in modes.items()
    ):
        raise damaged(path, f"{DESCRIPTION} has modes that its files cannot have")
    numbers = {name: _MODES[mode] for name, mode in modes.items()}
    return Index(commit, str(object_format), numbers, hashes, size)
