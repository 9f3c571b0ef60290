"""Subprocesses that end with this process, scratch folders, and clean clones of git repositories."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from stages.core.errors import UserError

# The bytes as committed, no hooks, and nothing written to the repository that is read.
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
_SCRATCH = "evidence-first-scratch-"
_SECONDS_TO_LOCK = 60  # after which a scratch folder without a lock is abandoned
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_LAUNCHED = ("DVC_STAGE", "LOCAL_RANK")  # variables that DVC and Fabric set for what they launch


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder that is deleted afterwards, also after Ctrl-C, SIGTERM or a hang-up.

    Those of killed processes are deleted by the next call.
    """
    _delete_abandoned_folders()
    signals = (signal.SIGTERM, signal.SIGHUP)
    handlers = [
        signal.signal(number, lambda received, _: sys.exit(128 + received)) for number in signals
    ]
    try:
        with tempfile.TemporaryDirectory(prefix=_SCRATCH) as folder, _locked(Path(folder)):
            yield Path(folder).resolve()
    finally:
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which the system releases when this process ends in any way.

    Raises:
        BlockingIOError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _delete_abandoned_folders() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError):  # it is locked, gone, or another user's
            if time.time() - folder.lstat().st_mtime > _SECONDS_TO_LOCK:
                with _locked(folder):
                    shutil.rmtree(folder)


def run_command(
    folder: Path, *command: str, extra_environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; the command and its children end with this process, also if it is killed.

    `python` and `dvc` are those of this environment. Python imports nothing from this work tree unless
    it is the folder, and git's variables (GIT_DIR and others) are not inherited.

    Args:
        folder: in which it runs.
        command: and its arguments; no shell is involved.
        extra_environment: variables to set.

    Raises:
        UserError: there is no such command.
    """
    return run_commands([(folder, command)], extra_environment)[0]


def run_commands(
    commands: Sequence[tuple[Path, Sequence[str]]],
    extra_environment: Mapping[str, str] | None = None,
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands at the same time, each in its folder, as `run_command` does.

    Their outputs must be short: the pipes of one are read after those of the one before.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
        **(extra_environment or {}),
    }
    results = []
    with ExitStack() as running:
        processes = [
            running.enter_context(_start(folder, command, environment))
            for folder, command in commands
        ]
        for process in processes:
            running.enter_context(_guarded(process))
        try:
            for process in processes:
                output, errors = process.communicate()
                results.append(
                    subprocess.CompletedProcess(process.args, process.returncode, output, errors)
                )
        except BaseException:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            raise
    return results


def _start(
    folder: Path, command: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if error.filename != command[0]:
            raise
        raise UserError(f"{command[0]} is not installed, or not on PATH") from None


@contextmanager
def _guarded(process: subprocess.Popen[str]) -> Iterator[None]:
    """Let a shell kill the process and its children when this process is killed: its input ends then."""
    with subprocess.Popen(
        ("sh", "-c", f"read -r line; kill -s KILL -- -{process.pid}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as guard:
        try:
            yield
        finally:
            guard.kill()


def end_with_launcher() -> None:
    """Let the system kill this stage when the program that launched it is killed. Linux only.

    That is DVC, beside whose next run the stage would go on writing, or the first of several training
    processes, for which the others would wait for minutes. A stage that a user has started goes on when the
    terminal is closed.
    """
    if sys.platform != "linux" or not any(name in os.environ for name in _LAUNCHED):
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    # A launcher that was killed before can be told by its group, unless the stage leads one of its own.
    if os.getpgrp() not in {os.getpid(), os.getpgid(os.getppid())}:
        sys.exit(128 + signal.SIGKILL)


def last_line(text: str) -> str:
    """Return the last line of text that is not blank, "" if there is none."""
    lines = text.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def git(folder: Path, *command: str, extra_environment: Mapping[str, str] | None = None) -> str:
    """Return the output of a git command, without blanks at its ends.

    Args:
        folder: in which it runs.
        command: the subcommand and its arguments.
        extra_environment: variables to set.

    Raises:
        UserError: it fails, or git is not installed.
    """
    result = run_command(folder, "git", *_PLAIN, *command, extra_environment=extra_environment)
    if result.returncode:
        lines = [line.strip() for line in result.stderr.split("\n") if line.strip()]
        fatal = [line for line in lines if line.startswith("fatal: ")] or lines
        reason = fatal[0].removeprefix("fatal: ") if fatal else f"exit {result.returncode}"
        raise UserError(f"git {command[0]}: {reason}")
    return result.stdout.strip()


def clone_revision(source: str, revision: str, clone: Path) -> str:
    """Clone a git repository and check a revision out; return the commit.

    The objects of a repository on this machine are shared: nothing of it is copied or changed, and
    commits that no branch leads to can be checked out as well.

    Args:
        source: the path or URL of a repository.
        revision: as git names it; of a URL, also a branch without `origin/`.
        clone: the folder to create.

    Raises:
        UserError: there is no such repository or revision, or it has a symbolic link to a place
            outside it, through which a command in the clone would write elsewhere.
    """
    repository = Path(source)
    if repository.is_dir():
        git_folder = git(repository, "rev-parse", "--absolute-git-dir")
        commit = _resolve(repository, revision)
        shallow = git(repository, "rev-parse", "--is-shallow-repository") == "true"
        options = ["--quiet", "--no-checkout", *([] if shallow else ["--shared"])]
        git(clone.parent, "clone", *options, "--", git_folder, str(clone))
    elif "://" in source or ":" in source:
        git(clone.parent, "clone", "--quiet", "--no-checkout", "--", source, str(clone))
        try:
            commit = _resolve(clone, f"origin/{revision}")
        except UserError:
            commit = _resolve(clone, revision)
    else:
        raise UserError(
            f"{source}: no such folder, and no URL; give the path or URL of a git repository"
        )
    git(clone, "checkout", "--quiet", "--detach", commit)
    _refuse_outside_links(clone)
    return commit


def _refuse_outside_links(clone: Path) -> None:
    for folder, folders, files in os.walk(clone):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(clone.resolve()):
                raise UserError(
                    f"{path.relative_to(clone)} is a symbolic link to a place outside the "
                    "repository; nothing of it is run"
                )


def _resolve(repository: Path, revision: str) -> str:
    options = ("--verify", "--quiet", "--end-of-options")
    try:
        return git(repository, "rev-parse", *options, f"{revision}^{{commit}}")
    except UserError:
        raise UserError(
            f"{repository} has no revision {revision!r}; `git log --all` lists its revisions"
        ) from None
