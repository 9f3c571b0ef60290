"""Files that match their hash in dvc.lock with the line ends of another system.

Git may store a text with line feeds that its author's work tree, where DVC computed the hash, has with
carriage returns, and the other way round.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc_data.hashfile.hash_info import HashInfo

_READ_BY_GIT = 8000  # bytes, of which a zero tells git that a file is no text


def differs_in_line_ends(path: Path, expected: "HashInfo") -> bool:
    """Return whether a file or folder has the expected hash with other line ends.

    Args:
        path: the file or folder.
        expected: its hash in dvc.lock.
    """
    if expected.name != "md5" or not expected.value:
        return False
    compute = _folder_hash if path.is_dir() else _file_hash
    return any(compute(path, convert) == expected.value for convert in (_to_unix, _to_windows))


def _to_unix(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _to_windows(content: bytes) -> bytes:
    return _to_unix(content).replace(b"\n", b"\r\n")


def _file_hash(path: Path, convert: Callable[[bytes], bytes]) -> str:
    content = path.read_bytes()
    is_text = b"\0" not in content[:_READ_BY_GIT]
    return hashlib.md5(convert(content) if is_text else content, usedforsecurity=False).hexdigest()


def _folder_hash(path: Path, convert: Callable[[bytes], bytes]) -> str:
    """Return the hash that DVC gives a folder: of the sorted list of its files and their hashes."""
    files = sorted(entry for entry in path.rglob("*") if entry.is_file())
    entries = [
        {"md5": _file_hash(file, convert), "relpath": file.relative_to(path).as_posix()}
        for file in files
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    content = json.dumps(entries, sort_keys=True).encode()
    return f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir"
