"""A git revision that holds the baseline, for `dvc metrics diff baseline` to compare with.

The revision has the figures of the baseline under the paths of the current results. Git's plumbing
commands write it through a separate index: the work tree and the user's index stay as they are, no
history is needed, and a fixed author and date give the same commit on every machine.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from stages.core.errors import UserError
from stages.core.files import write_all
from stages.core.repositories import git

_AUTHOR = "Evidence First pipeline"
_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", _AUTHOR),
        ("EMAIL", "pipeline@evidence-first.invalid"),
        ("DATE", "2000-01-01T00:00:00+0000"),
    )
}


def create_baseline_revision(name: str, files: Mapping[str, bytes]) -> str:
    """Create the tag `name` on a commit without parents that holds `files`; return its SHA.

    Args:
        name: of the tag; a tag of that name that the pipeline created is moved.
        files: content by path.

    Raises:
        UserError: this is no git repository, git is not installed, or a branch or tag of the user's
            has that name.
    """
    root = Path.cwd()
    for kind in ("heads", "tags"):
        fields = "--format=%(refname) %(authorname)"
        reference = git(root, "for-each-ref", fields, f"refs/{kind}/{name}")
        if reference and not reference.endswith(f" {_AUTHOR}"):
            raise UserError(
                f"{reference.split(' ')[0]} exists and the pipeline did not create it; `dvc metrics "
                f"diff {name}` needs this name: rename yours (git tag NEW {name} && git tag -d {name}, "
                f"or git branch -m {name} NEW)"
            )
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        contents = Path(scratch) / "files"
        write_all(contents, files)
        paths = [str(contents / path) for path in files]
        blobs = git(root, "hash-object", "-w", "--no-filters", "--", *paths).split("\n")
        entries = [
            part
            for path, blob in zip(files, blobs, strict=True)
            for part in ("--cacheinfo", f"100644,{blob},{path}")
        ]
        git(root, "update-index", "--add", *entries, extra_environment=index)
        tree = git(root, "write-tree", extra_environment=index)
    message = f"The measured {name}, made by the pipeline"
    unsigned = ("-c", "commit.gpgSign=false", "-c", "i18n.commitEncoding=utf-8")
    commit = git(root, *unsigned, "commit-tree", tree, "-m", message, extra_environment=_IDENTITY)
    git(root, "update-ref", f"refs/tags/{name}", commit)
    return commit
