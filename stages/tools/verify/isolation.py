"""Functions of this project run in a process of their own on files of a clone, which are not trusted.

The process imports this project's code only (Python in isolated mode), runs in the sandbox within limits
of memory and time, and returns JSON. Nothing of the clone is imported or run.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from stages.core.errors import UserError, exit_on_user_error
from stages.core.processes import last_line, run_command, scratch_folder
from stages.tools.verify.code import CODE
from stages.tools.verify.sandbox import Limits, sandboxed

_MEMORY = 16 * 2**30  # bytes of private memory
_SECONDS = 3600
_PREFIX = "isolated"


def isolated_command(module: str, *words: str) -> list[str]:
    """Return the command that runs the function `main` of a module of this project in isolated mode.

    The current folder, the user's packages and Python's variables are not on the path; this project is.
    """
    start = (
        "import sys; sys.path.insert(0, sys.argv[1]); del sys.argv[1]; "
        f"from {module} import main; main()"
    )
    return [sys.executable, "-I", "-c", start, str(CODE), *words]


def run_isolated(root: Path, module: str, function: str, **arguments: Any) -> Any:
    """Return what a function of this project returns in a process of its own.

    Args:
        root: the clone, in which the process runs and to which it cannot write.
        module: below stages.tools.verify.
        function: its name; it gets `folder`, an empty one to write to, and the arguments.
        arguments: as JSON takes them.

    Raises:
        UserError: of the function; or the process crashed or reached a limit.
    """
    with scratch_folder() as folder:
        request, answer, work = folder / "request.json", folder / "answer.json", folder / "work"
        work.mkdir()
        values = {"folder": str(work), **arguments}
        request.write_text(json.dumps([module, function, values]), encoding="utf-8")
        command = isolated_command("stages.tools.verify.isolation", str(request), str(answer))
        result = run_command(
            root,
            *sandboxed(command, [folder], Limits(_MEMORY)),
            extra_environment={"TMPDIR": str(folder)},
            seconds=_SECONDS,
        )
        if result.returncode == 0:
            return json.loads(answer.read_text(encoding="utf-8"))
        line = last_line(result.stderr)
        if line.startswith(f"{_PREFIX}: "):
            raise UserError(line.removeprefix(f"{_PREFIX}: "))
        raise UserError(
            f"{function} ended with exit status {result.returncode}{f': {line}' if line else ''}"
        )


def main() -> None:
    """Run the function that the command line's request names, and write what it returns."""
    request, answer = map(Path, sys.argv[1:])
    module, function, arguments = json.loads(request.read_text(encoding="utf-8"))
    with exit_on_user_error(_PREFIX):
        result = getattr(import_module(f"stages.tools.verify.{module}"), function)(**arguments)
        answer.write_text(json.dumps(result), encoding="utf-8")
