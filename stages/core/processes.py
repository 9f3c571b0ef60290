"""Subprocesses that end with this process, and scratch folders."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from stages.core.errors import UserError

_SCRATCH = "evidence-first-scratch-"
_SECONDS_TO_LOCK = 60  # after which a scratch folder without a lock is abandoned
_OUTPUT_LIMIT = 64 * 2**20  # bytes of a command's output that are read
_LENGTH = 65536  # bytes of output that are read at a time
_SECONDS_TO_LINE = 0.25  # at most, until a line of a running command is seen
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
# The options with which DVC starts a shell, so that it reads no configuration.
_SHELL_OPTIONS = {"zsh": ["--no-rcs"], "bash": ["--noprofile", "--norc"]}
_LAUNCHED = ("DVC_STAGE", "LOCAL_RANK")  # variables that DVC and Fabric set for what they launch


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that is deleted afterwards, also after Ctrl-C, SIGTERM or a hang-up.

    Those of killed processes are deleted by the next call.

    Args:
        parent: the folder in which it is made; None: that of the system.
    """
    parent = parent or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _delete_abandoned_folders(parent)
    signals = (signal.SIGTERM, signal.SIGHUP)
    handlers = [
        signal.signal(number, lambda received, _: sys.exit(128 + received)) for number in signals
    ]
    try:
        with (
            tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=parent) as folder,
            _locked(Path(folder)),
        ):
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


def _delete_abandoned_folders(parent: Path) -> None:
    for folder in parent.glob(f"{_SCRATCH}*"):
        with suppress(OSError):  # it is locked, gone, or another user's
            if time.time() - folder.lstat().st_mtime > _SECONDS_TO_LOCK:
                with _locked(folder):
                    shutil.rmtree(folder)


def run_command(
    folder: Path,
    *command: str,
    extra_environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; the command and its children end with this process, also if it is killed.

    `python` and `dvc` are those of this environment. Python imports nothing from this work tree unless
    it is the folder, and git's variables (GIT_DIR and others) are not inherited.

    Args:
        folder: in which it runs.
        command: and its arguments; no shell is involved.
        extra_environment: variables to set.
        seconds: after which it is ended; None for no limit.
        on_line: called with each line that it prints, soon after it has printed it.

    Raises:
        TimeLimitError: it ran longer.
        UserError: there is no such command.
    """
    return run_commands([(folder, command)], extra_environment, seconds, on_line)[0]


def run_commands(
    commands: Sequence[tuple[Path, Sequence[str]]],
    extra_environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands at the same time, each in its folder, as `run_command` does.

    Of a long output only the end is returned.
    """
    environment = command_environment(extra_environment)
    results = []
    with ExitStack() as running:
        # Files instead of pipes: no command waits for its reader, whatever it prints.
        outputs = [
            (
                running.enter_context(tempfile.TemporaryFile()),
                running.enter_context(tempfile.TemporaryFile()),
            )
            for _ in commands
        ]
        guard = running.enter_context(Guard())
        processes = []
        for (folder, command), files in zip(commands, outputs, strict=True):
            process = running.enter_context(start(folder, command, environment, *files))
            guard.add(process)
            processes.append(process)
        try:
            for process, files in zip(processes, outputs, strict=True):
                if on_line:
                    with LineReader(files, on_line):
                        process.wait(seconds)
                else:
                    process.wait(seconds)
                texts = (end_of(file) for file in files)
                results.append(
                    subprocess.CompletedProcess(process.args, process.returncode, *texts)
                )
        except BaseException as error:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeLimitError(f"it took longer than {seconds:g} s") from None
            raise
    return results


class LineReader:
    """Calls a function with each line that a running command adds to its files of output.

    Args:
        files: that the command writes.
        on_line: the function, called in a thread of its own.
    """

    def __init__(self, files: Iterable[IO[bytes]], on_line: Callable[[str], None]) -> None:
        self._pending = {file.fileno(): b"" for file in files}
        self._offsets = dict.fromkeys(self._pending, 0)
        self._on_line = on_line
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ended.wait(_SECONDS_TO_LINE):
            self._read()
        self._read()

    def _read(self) -> None:
        for descriptor in self._pending:  # whose own position stays with the command
            while data := os.pread(descriptor, _LENGTH, self._offsets[descriptor]):
                self._offsets[descriptor] += len(data)
                *lines, rest = (self._pending[descriptor] + data).split(b"\n")
                self._pending[descriptor] = rest[-_LENGTH:]
                for line in lines:
                    self._on_line(line.decode("utf-8", errors="replace"))


def command_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables with which commands run: this environment's programs, none of git's."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return environment | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
        **(extra or {}),
    }


def shell_command(line: str) -> list[str]:
    """Return the words that run a line of a stage's command, in the shell in which DVC would."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    return [shell, *_SHELL_OPTIONS.get(Path(shell).name, []), "-c", line]


class TimeLimitError(UserError):
    """A command ran longer than it may."""


def end_of(file: IO[bytes]) -> str:
    """Return the end of what a command has written into a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _OUTPUT_LIMIT))
    return file.read().decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def start(
    folder: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    output: IO[bytes],
    errors: IO[bytes],
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, without input, as `run_command` does.

    Raises:
        UserError: there is no such command.
    """
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if error.filename != command[0]:
            raise
        raise UserError(f"{command[0]} is not installed, or not on PATH") from None


class Guard:
    """A shell that kills processes and their children when this process is killed: its input ends then.

    It starts before them, so that none runs long without it.
    """

    _SCRIPT = (
        'groups=; while read -r group; do groups="$groups -$group"; done; '
        '[ -z "$groups" ] || kill -s KILL -- $groups'
    )

    def __enter__(self) -> Self:
        self._shell = subprocess.Popen(
            ("sh", "-c", self._SCRIPT),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """Put a process that leads a session under guard."""
        assert self._shell.stdin is not None  # noqa: S101 (it is a pipe)
        self._shell.stdin.write(f"{process.pid}\n".encode())
        self._shell.stdin.flush()

    def __exit__(self, *_: object) -> None:
        self._shell.kill()
        self._shell.communicate()


def end_with_launcher() -> None:
    """Let the system kill this stage when the program that launched it is killed. Linux only.

    That is DVC, beside whose next run the stage would go on writing, or the first of several training
    processes, for which the others would wait for minutes. A stage that a user has started goes on when the
    terminal is closed.
    """
    if sys.platform != "linux" or not any(name in os.environ for name in _LAUNCHED):
        return
    end_with_parent()
    # A launcher that was killed before can be told by its group, unless the stage leads one of its own.
    if os.getpgrp() not in {os.getpid(), os.getpgid(os.getppid())}:
        sys.exit(128 + signal.SIGKILL)


def end_with_parent() -> None:
    """Let the system kill this process when its parent ends in any way. Linux only."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def last_line(text: str) -> str:
    """Return the last line of text that is not blank, "" if there is none."""
    lines = text.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
