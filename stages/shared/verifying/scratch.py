"""A clean clone in a folder of its own, and commands that leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from stages.shared.refusal import Refusal

# Bytes as they are committed, no code of anybody's hooks, and nothing written into others' repositories.
_PLAIN = (
    "--no-optional-locks",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.autocrlf=false",
    "-c",
    "advice.detachedHead=false",
)

_LINK = "120000"  # git's mode of a symbolic link


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a temporary folder that is gone afterwards, also after Ctrl-C, a polite kill or a hang-up."""
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(one, lambda number, _: sys.exit(128 + number)) for one in ends]
    try:
        with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
            yield Path(folder).resolve()
    finally:
        for one, handler in zip(ends, before, strict=True):
            signal.signal(one, handler)


def ran(
    where: Path, *command: str, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; where this is interrupted, it and all that it started is killed.

    `python` and `dvc` are those of this environment; nothing of this work tree is imported.
    """
    return side_by_side([(where, command)], more)[0]


def side_by_side(
    commands: Sequence[tuple[Path, Sequence[str]]], more: Mapping[str, str] | None = None
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands at the same time, each in its folder, as `ran` does; what they say is short."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
        **(more or {}),
    }
    done = []
    with ExitStack() as running:
        processes = [
            running.enter_context(
                subprocess.Popen(
                    command,
                    cwd=where,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            )
            for where, command in commands
        ]
        try:
            for process in processes:
                said, wrong = process.communicate()
                done.append(
                    subprocess.CompletedProcess(process.args, process.returncode, said, wrong)
                )
        except BaseException:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            raise
    return done


def git(where: Path, *command: str, more: Mapping[str, str] | None = None) -> str:
    """Return what a git command says.

    Raises:
        Refusal: it fails.
    """
    done = ran(where, "git", *_PLAIN, *command, more=more)
    if done.returncode:
        told = [line.strip() for line in done.stderr.split("\n") if line.strip()]
        fatal = [line for line in told if line.startswith("fatal: ")] or told or ["no reason given"]
        raise Refusal(f"git {command[0]}: {fatal[0].removeprefix('fatal: ')}")
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
        Refusal: there is no such repository or revision, or it holds a link that leads out of it, by
            which what runs in the clone would write elsewhere.
    """
    here = Path(source)
    if here.is_dir():
        folder = git(here, "rev-parse", "--absolute-git-dir")
        commit = _commit(here, revision)
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
    for line in git(where, "ls-files", "--stage").split("\n"):
        mode, _, name = line.partition(" ")[0], *line.rpartition("\t")[1:]
        if mode == _LINK and not (where / name).resolve().is_relative_to(where.resolve()):
            raise Refusal(
                f"{name} is a link that leads out of the repository: nothing of it is run"
            )
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
