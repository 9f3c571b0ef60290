"""A git revision, from which files are read without checking it out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.repositories import git


@dataclass(frozen=True)
class Revision:
    """A commit, and the name by which the user calls it."""

    name: str
    commit: str

    def files(self, folder: str) -> list[str]:
        """Return the files below a folder of the current one, as paths."""
        options = ("-r", "-z", "--name-only")
        listed = git(Path.cwd(), "ls-tree", *options, self.commit, "--", f"{folder}/")
        return [path for path in listed.split("\0") if path]

    def read(self, path: str) -> str:
        """Return the text of a file below the current folder.

        Raises:
            UserError: the revision has none.
        """
        return git(Path.cwd(), "show", f"{self.commit}:./{path}")

    def read_json(self, path: str) -> dict[str, Any]:
        """Return the object in a JSON file; an empty one where there is none.

        Raises:
            UserError: the file is not a JSON object.
        """
        try:
            text = self.read(path)
        except UserError:
            return {}
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise UserError(f"{self.name}:{path} is not a JSON object")
        return content


def find_revision(name: str) -> Revision | None:
    """Return the revision of that name, None for none, or outside a git repository."""
    options = ("--verify", "--quiet", "--end-of-options")
    try:
        return Revision(name, git(Path.cwd(), "rev-parse", *options, f"{name}^{{commit}}"))
    except UserError:
        return None


def require_revision(name: str) -> Revision:
    """Return the revision of that name.

    Raises:
        UserError: there is none.
    """
    revision = find_revision(name)
    if revision is None:
        raise UserError(
            f"given revision {name!r}; git knows none by that name (see git log --all), and there is no "
            "table of that name"
        )
    return revision
