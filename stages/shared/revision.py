"""A git revision made from measured files, so that DVC can compare the work tree with it.

`dvc metrics diff baseline` asks for a revision. This one holds the measured baseline under the
paths of the current results. It is made with git's plumbing, through an index of its own: neither
the work tree nor the user's index is touched, no history is needed, and a fixed author and date
give the same commit everywhere.
"""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stages.shared.refusal import Refusal

_AUTHOR = "Evidence First pipeline"
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", _AUTHOR),
        ("EMAIL", "pipeline@evidence-first.invalid"),
        ("DATE", "2000-01-01T00:00:00+0000"),
    )
}


def _git(*arguments: str, stdin: bytes = b"", index: str = "") -> str:
    environment = {**os.environ, **_IDENTITY, **({"GIT_INDEX_FILE": index} if index else {})}
    try:
        done = subprocess.run(
            ["git", *arguments], input=stdin, env=environment, capture_output=True, check=True
        )
    except FileNotFoundError:
        raise Refusal("git is not installed; the baseline revision needs it") from None
    except subprocess.CalledProcessError as error:
        raise Refusal(f"git {arguments[0]}: {error.stderr.decode().strip()}") from None
    return done.stdout.decode().strip()


def make(name: str, files: Mapping[str, bytes]) -> str:
    """Make the tag `name`, of a commit without parents that holds `files`; return its sha.

    Raises:
        Refusal: this is no git repository, or a branch or tag of the user's has that name.
    """
    for kind in ("heads", "tags"):
        found = _git("for-each-ref", "--format=%(refname) %(authorname)", f"refs/{kind}/{name}")
        if found and not found.endswith(f" {_AUTHOR}"):
            raise Refusal(
                f"{found.split(' ')[0]} is a name of yours; `dvc metrics diff {name}` needs it for "
                f"the measured baseline: rename it (git tag NEW {name} && git tag -d {name}, or git "
                f"branch -m {name} NEW)"
            )
    with tempfile.TemporaryDirectory() as scratch:
        index = str(Path(scratch) / "index")
        for path, content in sorted(files.items()):
            blob = _git("hash-object", "-w", "--stdin", stdin=content)
            _git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", index=index)
        tree = _git("write-tree", index=index)
    message = f"The measured {name}, made by the pipeline\n"
    commit = _git("-c", "commit.gpgSign=false", "commit-tree", tree, stdin=message.encode())
    _git("update-ref", f"refs/tags/{name}", commit)
    return commit
