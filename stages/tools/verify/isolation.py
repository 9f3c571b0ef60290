"""Functions of this project run in a process of their own on files of a clone, which are not trusted.

The process imports this project's own code only (`python -I`, and its path), reads the clone's data, and
returns JSON. Nothing of the clone is imported or run.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from stages.core.errors import UserError, exit_on_user_error
from stages.core.processes import last_line, run_command, scratch_folder
from stages.tools.verify.pipeline import CODE

# -I leaves the current folder, the user's packages and Python's variables out of the path.
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from stages.tools.verify.isolation import main; main()"
)
_PREFIX = "isolated: "


def run_isolated(root: Path, module: str, function: str, **arguments: Any) -> Any:
    """Return what a function of this project returns in a process of its own.

    Args:
        root: the clone, in which the process runs.
        module: below stages.tools.verify.
        function: its name; it gets `folder`, an empty one to write to, and the arguments.
        arguments: as JSON takes them.

    Raises:
        UserError: of the function; or the process crashed.
    """
    with scratch_folder() as folder:
        request, answer = folder / "request.json", folder / "answer.json"
        (folder / "work").mkdir()
        values = {"folder": str(folder / "work"), **arguments}
        request.write_text(json.dumps([module, function, values]), encoding="utf-8")
        command = ("python", "-I", "-c", _START, str(CODE), str(request), str(answer))
        result = run_command(root, *command)
        if result.returncode:
            line = last_line(result.stderr)
            if line.startswith(_PREFIX):
                raise UserError(line.removeprefix(_PREFIX))
            raise UserError(
                f"{function} crashed (exit status {result.returncode}{f': {line}' if line else ''})"
            )
        return json.loads(answer.read_text(encoding="utf-8"))


def main() -> None:
    """Run the function that the command line's request names, and write what it returns."""
    from stages.core.processes import end_with_parent

    end_with_parent()
    _, _, request, answer = sys.argv
    module, function, arguments = json.loads(Path(request).read_text(encoding="utf-8"))
    with exit_on_user_error(_PREFIX.rstrip(": ")):
        result = getattr(import_module(f"stages.tools.verify.{module}"), function)(**arguments)
        Path(answer).write_text(json.dumps(result), encoding="utf-8")
