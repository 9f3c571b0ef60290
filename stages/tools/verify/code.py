"""Which files of a revision can run or steer what runs, and which of them differ from trusted ones."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.core.repositories import git
from stages.tools.verify.dvc_config import PATH, split_config

CODE = Path(__file__).resolve().parents[3]  # the project that verifies
# Compiled and interpreted code, and files that Python executes when it starts.
_RUNNABLE = re.compile(
    r".*\.(pyw?|py[cod]|pth|so(\.\d+)*|dll|dylib|egg|sh|bash|bat|cmd|ps1)", re.IGNORECASE
)
_STEERING = {
    "dvc.yaml",
    ".dvcignore",
    ".gitattributes",
    ".gitmodules",
    "Makefile",
    "pyproject.toml",
}
_NOT_RUN = {"tests", "docs"}  # no stage imports or starts what is there
_EXECUTABLE, _LINK = "100755", "120000"


@dataclass(frozen=True)
class CodeDifference:
    """A file of a revision that can run and is not the trusted one.

    Attributes:
        path: relative to the root.
        change: "differs", "added" or "missing".
    """

    path: str
    change: str


def is_code(path: str, mode: str = "") -> bool:
    """Return whether a tracked file can run, or steers what runs.

    Args:
        path: relative to the root.
        mode: of git: "100755" for an executable file, "120000" for a symbolic link.
    """
    parts = PurePosixPath(path).parts
    if parts[-1] in _STEERING or (parts[0] == ".dvc" and parts[-1] != ".gitignore"):
        return True
    if mode == _LINK:  # what is written to one place would change another
        return True
    if parts[0] in _NOT_RUN or parts[0].startswith("."):
        return False
    is_runnable = _RUNNABLE.fullmatch(parts[-1]) is not None or mode == _EXECUTABLE
    return parts[0] == "stages" or is_runnable


def code_files(root: Path, revision: str = "HEAD") -> dict[str, str]:
    """Return the code of a commit: path -> the hash of its content.

    Args:
        root: a clone.
        revision: that it has.
    """
    listing = git(root, "ls-tree", "-r", "-z", revision)
    files = {}
    for entry in filter(None, listing.split("\0")):
        properties, _, path = entry.partition("\t")
        mode, _, identifier = properties.split()
        if is_code(path, mode):
            files[path] = identifier
    return files


def code_differences(root: Path, base: str = "") -> list[CodeDifference]:
    """Return which code of a clone differs from the trusted one, by path.

    Args:
        root: the clone, with the data that DVC fetches.
        base: a commit of the same repository whose code is trusted; "" for the project that verifies.
    """
    files = code_files(root)
    if base:
        trusted = code_files(root, base)
        counterparts, required = set(trusted), set(trusted)
        same = {path for path, identifier in files.items() if trusted.get(path) == identifier}
    else:
        counterparts = {path for path in files if (CODE / path).is_file()}
        has_stages = any(path.startswith("stages/") for path in files)
        required = _own_code() if has_stages else set()
        same = {path for path in counterparts if _same_content(root, path)}
    differences = {
        path: "differs" if path in counterparts else "added" for path in files.keys() - same
    }
    differences |= dict.fromkeys(_fetched_code(root) - files.keys(), "added")
    differences |= dict.fromkeys(required - files.keys(), "missing")
    if base or PATH not in files:
        return _sorted(differences)
    config = git(root, "show", f"HEAD:{PATH}")  # verify replaces the file
    verifier = (CODE / PATH).read_text(encoding="utf-8") if (CODE / PATH).is_file() else ""
    if split_config(config)[1] == split_config(verifier)[1]:
        differences.pop(PATH, None)  # where data are kept is each repository's own
    return _sorted(differences)


def _fetched_code(root: Path) -> set[str]:
    """Return the files in a clone that can run, also those that DVC has fetched and git does not have."""
    paths = set()
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in {".git", ".dvc"}]
        place = Path(folder).relative_to(root)
        paths |= {(place / name).as_posix() for name in files if name != ".git"}
    return {path for path in paths if is_code(path)}


def _sorted(differences: Mapping[str, str]) -> list[CodeDifference]:
    return [CodeDifference(path, change) for path, change in sorted(differences.items())]


def _own_code() -> set[str]:
    """Return the code of this project that a revision must have: its stages, and what steers DVC."""
    stages = {
        path.relative_to(CODE).as_posix()
        for path in (CODE / "stages").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    steering = {name for name in (*_STEERING, PATH) if (CODE / name).is_file()}
    return stages | steering | {path.name for path in CODE.glob("*.py")}


def _same_content(root: Path, path: str) -> bool:
    """Return whether a file has the bytes of this project's, or its text with other line ends."""
    original, copy = CODE / path, root / path
    if not original.is_file() or copy.is_symlink() or not copy.is_file():
        return False
    contents = original.read_bytes(), copy.read_bytes()
    if b"\0" in contents[0]:
        return contents[0] == contents[1]
    lines = [content.replace(b"\r\n", b"\n") for content in contents]
    return lines[0] == lines[1]


def delete_code(root: Path) -> None:
    """Delete the code of a clone, so that nothing of it can be imported, and its bytecode.

    dvc.yaml and DVC's configuration stay; DVC has read them.
    """
    for path in code_files(root):
        if not path.endswith(("dvc.yaml", ".dvcignore")) and not path.startswith(".dvc/"):
            (root / path).unlink(missing_ok=True)


def delete_bytecode(root: Path) -> None:
    """Delete the bytecode beside sources: Python would run it in their place."""
    for path in root.rglob("__pycache__/*.py[co]"):
        path.unlink()
