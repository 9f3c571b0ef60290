"""A process that has imported what stages import, and becomes a copy of itself for each stage.

Importing torch and its followers takes seconds, and most stages need them. Here it happens once for a run
of the pipeline, before anything is computed: a copy of a process has only one of its threads.

It reads requests from stdin and writes replies to stdout, one JSON object a line: for each request the
process of the stage, and at the end of a stage its exit status. When stdin ends, it ends, and the stages
with it.
"""

import json
import os
import runpy
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from stages.core.processes import end_with_launcher, shell_command
from stages.core.progress import show_in

_MODULES = (
    "torch",
    "torchvision",
    "lightning_fabric",
    "pandas",
    "sklearn.linear_model",
    "scipy.stats",
    "dvclive.live",
    "vl_convert",
)
_LIGHT = {"", "stages.params", "stages.pack", "stages.compare"}  # need little of it; "": a shell
_PROGRESS_SECONDS = 1.0  # between two lines of progress
_FAILURE_STATUS = 1
_LENGTH = 65536  # bytes of requests that are read at a time


def main() -> None:
    """Serve until stdin ends."""
    wakeup, wakeup_end = os.pipe()
    os.set_blocking(wakeup_end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the end of a stage writes to the pipe
    signal.set_wakeup_fd(wakeup_end)
    stages: set[int] = set()
    pending = b""
    while True:
        readable, _, _ = select.select([0, wakeup], [], [])
        if wakeup in readable:
            os.read(wakeup, _LENGTH)
            _report_ended(stages)
        if 0 in readable:
            data = os.read(0, _LENGTH)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if {module for module, _ in request["commands"]} - _LIGHT:
                    _import_modules()
                process = os.fork()
                if process == 0:
                    signal.set_wakeup_fd(-1)
                    _become_stage(request)
                stages.add(process)
                _reply({"process": process})
    for process in stages:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)


@cache
def _import_modules() -> None:
    # Elsewhere a copy of a process that has used libraries of the system may fail.
    if sys.platform == "linux":
        for name in _MODULES:
            with suppress(ImportError):
                import_module(name)


def _report_ended(stages: set[int]) -> None:
    """Reply with the exit status of each stage that has ended, of a killed one as a shell reports it."""
    while stages:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        stages.discard(process)
        code = os.waitstatus_to_exitcode(status)
        _reply({"process": process, "status": 128 - code if code < 0 else code})


def _reply(content: dict[str, int]) -> None:
    os.write(1, json.dumps(content).encode() + b"\n")


def _become_stage(request: dict[str, Any]) -> None:
    """Run the commands of a request as this process, and end it."""
    os.setsid()  # a group that can be ended whole; Ctrl-C reaches the program that started it
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = _FAILURE_STATUS
    descriptors = [
        os.open(os.devnull, os.O_RDONLY),
        os.open(request["log"], os.O_WRONLY | os.O_APPEND),
    ]
    for descriptor, standard in zip((*descriptors, descriptors[1]), (0, 1, 2), strict=True):
        os.dup2(descriptor, standard)
    try:
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        end_with_launcher()
        with Path(request["progress"]).open("w", encoding="utf-8") as stream:
            show_in(stream, _PROGRESS_SECONDS)
            for module, words in request["commands"]:
                if module:
                    _run_module(module, words)
                else:
                    _run_in_shell(words[0])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else _FAILURE_STATUS if end.code else 0
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 (whatever it is, this process must not serve)
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _run_module(name: str, arguments: Sequence[str]) -> None:
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_in_shell(line: str) -> None:
    status = subprocess.run(shell_command(line), check=False).returncode
    if status:
        raise SystemExit(status)
