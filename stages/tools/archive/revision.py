"""A commit, read from git's objects: its files as committed, whatever a checkout would make of them.

No filter, hook or attribute of the repository applies, and nothing is checked out.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.repositories import resolve_revision

if TYPE_CHECKING:
    from dulwich.objects import Commit, Tree, TreeEntry
    from dulwich.repo import Repo

REGULAR, EXECUTABLE, LINK = 0o100644, 0o100755, 0o120000
_SUBMODULE = 0o160000
_MAX_TARGET = 4095  # bytes, as Linux allows


@dataclass(frozen=True)
class Revision:
    """A commit and its files.

    Attributes:
        commit: its hash.
        raw: the commit object, without git's header.
        files: each file's content by its path; of a symbolic link its target.
        modes: by path, of the files that are executable or links.
        object_format: sha1 or sha256, by which git names objects.
        time: of the commit, in UTC.
        author: the name of the commit's author.
    """

    commit: str
    raw: bytes
    files: Mapping[str, bytes]
    modes: Mapping[str, int]
    object_format: str
    time: datetime
    author: str

    def text(self, path: str) -> str:
        """Return a file as text; "" if there is none.

        Raises:
            UserError: it is not UTF-8.
        """
        try:
            return self.files.get(path, b"").decode()
        except UnicodeDecodeError:
            raise UserError(f"{path}: not UTF-8 text; save it as UTF-8 and commit") from None

    def json(self, path: str) -> Any:
        """Return the content of a JSON file; an empty dict if there is none, or if it is damaged."""
        import json

        try:
            return json.loads(self.files.get(path, b"{}"))
        except (RecursionError, ValueError):
            return {}

    def yaml(self, path: str) -> dict[str, Any]:
        """Return the mapping in a YAML file; an empty one if there is no file.

        Raises:
            UserError: it is not a mapping in YAML.
        """
        from stages.core.params import parse_yaml

        if path not in self.files:
            return {}
        try:
            content = parse_yaml(self.text(path))
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        if not isinstance(content, dict):
            raise UserError(f"{path}: must be a mapping with keys")
        return content


def read_revision(root: Path, name: str) -> Revision:
    """Read a commit of the repository in `root`.

    Raises:
        UserError: there is no such commit, or it holds what an archive cannot: a submodule, a link out of
            the repository, a name that is not UTF-8.
    """
    from dulwich.repo import Repo

    commit_id = resolve_revision(root, name)
    with Repo.discover(root) as repo:
        try:
            return _read_commit(repo, commit_id)
        except KeyError as error:
            raise UserError(
                f"{commit_id[:10]}: git's object {error.args[0]!r} is not here; this clone is incomplete, "
                "`git fetch --refetch` completes it"
            ) from None


class _NoStore:
    """A store of git's objects that keeps none: only their hashes are needed."""

    def add_object(self, _: "Tree") -> None:
        """Do nothing."""


def _read_commit(repo: "Repo", commit_id: str) -> Revision:
    from dulwich.index import commit_tree
    from dulwich.object_store import iter_tree_contents

    commit: Commit = repo[commit_id.encode()]  # type: ignore[assignment]
    entries = [*iter_tree_contents(repo.object_store, commit.tree)]
    files = {_path(entry.path): _content(repo, entry) for entry in entries}
    modes = {_path(entry.path): entry.mode for entry in entries if entry.mode != REGULAR}
    for path, mode in modes.items():
        if mode == LINK:
            check_link(path, files[path])
    # A commit can hold what its files do not give, such as an empty folder.
    contents = ((entry.path, entry.sha, entry.mode) for entry in entries)
    if commit_tree(_NoStore(), contents, repo.object_format) != commit.tree:  # type: ignore[arg-type]
        raise UserError(
            f"{commit_id[:10]}: its files alone do not give its tree (an empty folder?); commit anew"
        )
    return Revision(
        commit_id,
        commit.as_raw_string(),
        files,
        modes,
        repo.object_format.name,
        datetime.fromtimestamp(commit.commit_time, UTC),
        re.sub(rb"<[^<>]*>$", b"", commit.author).strip().decode("utf-8", "replace"),
    )


def _path(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UserError(f"{raw!r}: this file name is not UTF-8; rename it and commit") from None


def _content(repo: "Repo", entry: "TreeEntry") -> bytes:
    path, mode = _path(entry.path), entry.mode
    if mode == _SUBMODULE:
        raise UserError(
            f"{path} is a submodule; an archive cannot hold one: commit its files instead"
        )
    if mode not in {REGULAR, EXECUTABLE, LINK}:
        raise UserError(f"{path} has the mode {mode:o}, which git no longer writes; commit it anew")
    return repo[entry.sha].as_raw_string()


def check_link(path: str, target: bytes) -> None:
    """Check that a symbolic link leads to a place in its repository.

    Args:
        path: of the link, in the repository.
        target: as git holds it.

    Raises:
        UserError: it may lead out of the repository.
    """
    folders = path.split("/")[:-1]
    parts = _path(target).split("/")
    up = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    # Further up only at the start: after the name of another link, `..` could lead anywhere.
    inside = up <= len(folders) and ".." not in parts[up:]
    if (
        not inside
        or parts == [""]
        or parts[0] == ""
        or len(target) > _MAX_TARGET
        or b"\\" in target
        or b"\0" in target
    ):
        raise UserError(
            f"{path} is a symbolic link to a place outside the repository; an archive cannot hold it"
        )


def tree_of(repo: "Repo", files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Store files as git's objects; return the hash of their tree, as hexadecimal digits.

    Args:
        repo: whose object store gets them.
        files: path, mode and content of each.
    """
    from dulwich.index import commit_tree
    from dulwich.objects import Blob, ObjectID

    entries = []
    for path, mode, content in files:
        blob = Blob.from_string(content)
        repo.object_store.add_object(blob)
        entries.append((path.encode(), ObjectID(blob.get_id(repo.object_format)), mode))
    return commit_tree(repo.object_store, entries, repo.object_format)
