"""The packages that an archive may hold: each is one that requirements/ names by its hash."""

import re
from collections.abc import Mapping
from pathlib import Path

from stages.core.errors import UserError
from stages.tools.archive.members import WHEELS, Member
from stages.tools.archive.revision import Revision

FOLDER = "requirements/"
_PACKAGE = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==\S+", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def requirement_files(revision: Revision) -> list[str]:
    """Return the files of a commit that pin packages by their hash."""
    names = sorted(name for name in revision.files if name.startswith(FOLDER))
    return [name for name in names if name.endswith(".txt") and _HASH.search(revision.text(name))]


def requirement_hashes(revision: Revision) -> dict[str, str]:
    """Return the name of the package by each SHA-256 that the files in requirements/ allow."""
    hashes: dict[str, str] = {}
    for path in requirement_files(revision):
        parts = _PACKAGE.split(revision.text(path))
        for name, options in zip(parts[1::2], parts[2::2], strict=True):
            hashes |= dict.fromkeys(_HASH.findall(options), name)
    return hashes


def wheel_members(folder: Path, hashes: Mapping[str, str]) -> list[Member]:
    """Return the files of a folder as members.

    Args:
        folder: of wheels and source distributions, as `pip download` makes it.
        hashes: by `requirement_hashes`.

    Raises:
        UserError: there is no such folder, it has no files, or one that requirements/ does not name.
    """
    if not folder.is_dir():
        raise UserError(f"--wheels: given {folder}; must be a folder of wheels")
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    members = [Member(f"{WHEELS}{path.name}", path) for path in paths if path.is_file()]
    if not members or len(members) < len(paths):
        raise UserError(f"--wheels: {folder} must hold wheels, at least one, and nothing else")
    for member in members:
        if member.sha256 not in hashes:
            raise UserError(
                f"--wheels: {folder / Path(member.name).name}: no package in {FOLDER} has its SHA-256 "
                f"({member.sha256}); remove it, or fetch the one that is pinned: `pip download "
                f"--require-hashes --no-deps -r {FOLDER}base.txt`"
            )
    return members


def missing_packages(members: list[Member], hashes: Mapping[str, str]) -> list[str]:
    """Return the packages of requirements/ of which no file is among the members."""
    packed = {hashes[member.sha256] for member in members}
    return sorted({*hashes.values()} - packed)
