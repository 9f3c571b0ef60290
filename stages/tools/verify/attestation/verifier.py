"""The verifier itself: its commit, and a digest of the code that computes verdicts."""

import hashlib
from functools import cache
from typing import Any

from stages.core.errors import UserError
from stages.core.repositories import git
from stages.tools.verify.code import CODE

_FURTHER = ("pyproject.toml", "requirements/base.txt", "requirements/torch.txt")


@cache
def code_digest() -> str:
    """Return the SHA-256 over names and contents of all files in `stages/` and of the locked libraries."""
    digest = hashlib.sha256()
    files = [path for path in (CODE / "stages").rglob("*") if "__pycache__" not in path.parts]
    files += [CODE / name for name in _FURTHER if (CODE / name).is_file()]
    for path in sorted(path for path in files if path.is_file()):
        for part in (path.relative_to(CODE).as_posix().encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def verifier_record() -> dict[str, Any]:
    """Return the verifier's commit, whether its files differ from it, and the digest of its code.

    The commit is None where the verifier is no clone.
    """
    try:
        commit: str | None = git(CODE, "rev-parse", "--verify", "HEAD")
        modified = bool(git(CODE, "status", "--porcelain", "--untracked-files=no"))
    except UserError:
        commit, modified = None, False
    return {"commit": commit, "modified": modified, "code_sha256": code_digest()}
