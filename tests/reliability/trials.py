"""What a trial is, and what a run of commands leaves: files, processes, scratch folders."""

import hashlib
import math
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from support.project import environment

MARK = "RELIABILITY_TRIAL"  # an environment variable by which the processes of a command are known
SECONDS_OF_COMMAND = 900  # that it may go on after a child of it was killed
SECONDS_TO_END = 20  # that its processes may need after it has ended
_STATE = {".git", ".dvc", "__pycache__"}  # what git and DVC keep for themselves
_LOCKS = "data/resume/*.lock"  # of trainers: empty files that stay, in a folder that git ignores


@dataclass(frozen=True)
class Trial:
    """One case, and how it ended.

    Attributes:
        row: of the table, to which it counts: the thing that was killed or changed, and how.
        outcome: the column: how it ended, where all is well.
        problem: what is wrong, "" for nothing.
        case: what exactly was done, so that it can be done again.
    """

    row: str
    outcome: str
    problem: str = ""
    case: str = ""


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder, by path, without the state of git and DVC."""
    digests = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if _STATE & {*relative.parts} or relative.match(_LOCKS):
            continue
        if path.is_symlink():
            digests[relative.as_posix()] = f"a link to {path.readlink()}"
        elif path.is_file():
            digests[relative.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return in words which files differ, "" if none does."""
    parts = {
        "missing": sorted(before.keys() - after.keys()),
        "left over": sorted(after.keys() - before.keys()),
        "other bytes": sorted(
            path for path in before.keys() & after.keys() if before[path] != after[path]
        ),
    }
    return "; ".join(
        f"{word}: {', '.join(paths[:3])}{f' and {len(paths) - 3} more' if len(paths) > 3 else ''}"
        for word, paths in parts.items()
        if paths
    )


class Running:
    """A command in a session of its own, whose processes can be found and killed.

    Attributes:
        lines: what it has printed so far, each with the seconds since its start.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        scratch: Path,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Start a command in `folder`; its temporary files go to `scratch`."""
        self.mark = uuid.uuid4().hex
        scratch.mkdir(exist_ok=True)
        variables = {**environment(), "TMPDIR": str(scratch), MARK: self.mark, **(extra or {})}
        self.start = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self.lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append((time.monotonic() - self.start, line.rstrip("\n")))

    def seconds(self) -> float:
        """Return the seconds since its start."""
        return time.monotonic() - self.start

    def wait_for(self, text: str) -> bool:
        """Wait until it prints a line with `text`; return whether it did before it ended."""
        while True:
            ended = self.process.poll() is not None
            if any(text in line for _, line in self.lines):
                return True
            if ended:
                return False
            time.sleep(0.005)

    def sleep(self, seconds: float) -> None:
        """Wait, at most until it ends."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def finish(self) -> tuple[int, str]:
        """Wait for its end; return the exit status and what it printed."""
        status = self.process.wait()
        self._reader.join(5)
        return status, "\n".join(line for _, line in self.lines)

    def processes(self) -> list[psutil.Process]:
        """Return its processes that run, its own first; their children may be in other sessions."""
        marked = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark and process.status() != "zombie":
                    marked.append(process)
        return sorted(marked, key=lambda process: (process.pid != self.process.pid, process.pid))

    def kill(self, target: str) -> str:
        """Send SIGKILL to one of its processes or to all of its group; return to which.

        Args:
            target: "command": its own process alone; "child": the one that does the work, the youngest;
                "group": all of its process group at once.
        """
        if self.process.poll() is not None:
            return "nothing: it had ended"
        if target == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
            return "the whole group"
        children = [process for process in self.processes() if process.pid != self.process.pid]
        if target == "child" and children:
            youngest = max(children, key=lambda process: process.create_time())
            with suppress(psutil.NoSuchProcess):
                youngest.kill()
            return "a child"
        self.process.kill()
        return "the command alone"

    def end_of_processes(self) -> float | None:
        """Wait for the command's end; return the seconds until none of its processes runs either.

        None if some still do; these are killed. A command of which a child was killed may finish what does
        not need that child, so it is not ended.
        """
        self.sleep(SECONDS_OF_COMMAND)
        start = time.monotonic()
        while processes := self.processes():
            if time.monotonic() - start > SECONDS_TO_END:
                for process in processes:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(processes)
                return None
            time.sleep(0.05)
        return time.monotonic() - start


def run_to_end(
    folder: Path, command: Sequence[str], scratch: Path, **options: Mapping[str, str]
) -> tuple[int, str]:
    """Run a command; return its exit status and what it printed."""
    return Running(folder, command, scratch, **options).finish()


def make_old(folder: Path, seconds: float = 120) -> None:
    """Set the time of what lies in a folder back, as if a while had passed since a kill."""
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            past = path.lstat().st_mtime - seconds
            os.utime(path, (past, past), follow_symlinks=False)


def leftovers(folder: Path) -> list[str]:
    """Return the names of what lies in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def spread(count: int, run: Callable[[int], Trial], minutes: float = math.inf) -> Iterator[Trial]:
    """Yield the trials 0 to `count` - 1, or as many as start within some minutes; say how far they are."""
    end = time.monotonic() + 60 * minutes
    for number in range(count):
        if time.monotonic() > end:
            return
        trial = run(number)
        words = trial.problem or trial.outcome
        print(f"{number + 1}/{count}  {trial.row}  {trial.case}  {words}", flush=True)
        yield trial
