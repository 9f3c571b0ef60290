"""A clean clone in a folder of its own, and commands that leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stages.shared.refusal import Refusal

# Bytes as they are committed, and no code of anybody's hooks.
_PLAIN = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.autocrlf=false",
    "-c",
    "advice.detachedHead=false",
)


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a temporary folder that is gone afterwards, also after Ctrl-C or a polite kill."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
            yield Path(folder).resolve()
    finally:
        signal.signal(signal.SIGTERM, before)


def ran(
    where: Path, *command: str, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; where this is interrupted, it and all that it started is killed.

    `python` and `dvc` are those of this environment; nothing of this work tree is imported.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
        **(more or {}),
    }
    with subprocess.Popen(
        command,
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            said, wrong = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, said, wrong)


def git(where: Path, *command: str, more: Mapping[str, str] | None = None) -> str:
    """Return what a git command says.

    Raises:
        Refusal: it fails.
    """
    done = ran(where, "git", *_PLAIN, *command, more=more)
    if done.returncode:
        told = [line for line in done.stderr.split("\n") if line.strip()] or ["no reason given"]
        raise Refusal(f"git {command[0]}: {told[-1].strip()}")
    return done.stdout.strip()


def cloned(source: str, revision: str, where: Path) -> str:
    """Clone a revision into the folder `where`, which is not there yet; return its commit.

    A repository of this machine lends its objects (nothing is copied, nothing of it is changed), so
    that a commit that no branch leads to is found as well.

    Args:
        source: the path or URL of a repository.
        revision: as git names it; of a URL, also a branch without `origin/`.
        where: the clone's folder.

    Raises:
        Refusal: there is no such repository or revision.
    """
    here = Path(source)
    if here.is_dir():
        commit = _commit(here, revision)
        folder = git(here, "rev-parse", "--absolute-git-dir")
        shallow = git(here, "rev-parse", "--is-shallow-repository") == "true"
        lent = [] if shallow else ["--shared"]
        git(where.parent, "clone", "--quiet", "--no-checkout", *lent, "--", folder, str(where))
    elif "://" in source or ":" in source:
        git(where.parent, "clone", "--quiet", "--no-checkout", "--", source, str(where))
        try:
            commit = _commit(where, f"origin/{revision}")
        except Refusal:
            commit = _commit(where, revision)
    else:
        raise Refusal(
            f"{source}: no such folder, and no URL; give the path or URL of a git repository"
        )
    git(where, "checkout", "--quiet", "--detach", commit)
    return commit


def _commit(where: Path, revision: str) -> str:
    try:
        return git(
            where, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
    except Refusal:
        raise Refusal(
            f"{where} has no revision {revision!r}; `git log --all` shows those that it has"
        ) from None
