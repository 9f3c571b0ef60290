"""The commands of stages, each in a process that a fork server starts."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.errors import UserError

_CODE = Path(__file__).resolve().parents[3]
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from stages.tools.repro.fork_server import main; main()"
)
_LENGTH = 65536  # bytes of replies that are read at a time
# A command of this project's pipeline; any other one is left to a shell.
_STAGE_COMMAND = re.compile(r"python -m (stages\.\w+)((?: [\w.-]+)*)")


@dataclass(frozen=True)
class StageCommand:
    """What a stage runs.

    Attributes:
        lines: its commands, one after the other.
        folder: in which they run.
        environment: variables to set.
        log: the file that takes what it prints.
        progress: the file that takes its lines of progress.
    """

    lines: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    progress: Path

    def request(self) -> dict[str, Any]:
        """Return it as the fork server takes it: of each command the module and its words."""
        matches = [_STAGE_COMMAND.fullmatch(line) for line in self.lines]
        return {
            "commands": [
                (match[1], match[2].split()) if match else ("", [line])
                for match, line in zip(matches, self.lines, strict=True)
            ],
            "folder": str(self.folder),
            "environment": dict(self.environment),
            "log": str(self.log),
            "progress": str(self.progress),
        }


class StageServer:
    """Starts stages, and tells which have ended. Its process is started with the first stage."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket, self._server_socket = socket.socketpair()
        self._running: set[int] = set()
        self._ended: dict[int, int] = {}
        self._pending = b""

    def start(self, command: StageCommand) -> int:
        """Start a stage's command; return its process."""
        command.log.parent.mkdir(parents=True, exist_ok=True)
        for path in (command.log, command.progress):
            path.write_bytes(b"")
        if self._process is None:
            self._process = self._start_server()
        self._socket.sendall(json.dumps(command.request()).encode() + b"\n")
        while True:
            started = [reply["process"] for reply in self._replies(None) if "status" not in reply]
            if started:
                return started[0]

    def ended(self, seconds: float) -> dict[int, int]:
        """Wait until a stage ends, or some seconds; return the exit statuses of those that have.

        Returns:
            The status by process.
        """
        if self._running and not self._ended:
            self._replies(seconds)
        ended, self._ended = self._ended, {}
        return ended

    def close(self) -> None:
        """End all stages, with their children."""
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        self._socket.close()  # which ends the server
        self._server_socket.close()
        if self._process:
            self._process.wait()

    def _start_server(self) -> subprocess.Popen[bytes]:
        options = ["-I"] if sys.flags.isolated else []
        process = subprocess.Popen(
            [sys.executable, *options, "-c", _START, str(_CODE)],
            stdin=self._server_socket.fileno(),
            stdout=self._server_socket.fileno(),
            start_new_session=True,
        )
        self._server_socket.close()
        return process

    def _replies(self, seconds: float | None) -> list[dict[str, int]]:
        """Read what the server says, waiting for it at most some seconds; note what runs and what ended.

        Raises:
            UserError: the server has ended.
        """
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(_LENGTH)
        except TimeoutError:
            return []
        if not data:
            raise UserError("the process that starts the stages has ended, perhaps for memory")
        *lines, self._pending = (self._pending + data).split(b"\n")
        replies: list[dict[str, int]] = [json.loads(line) for line in lines]
        for reply in replies:
            process = reply["process"]
            if "status" in reply:
                self._running.discard(process)
                self._ended[process] = reply["status"]
            else:
                self._running.add(process)
        return replies
