"""Print a script with which a shell completes the commands, options and tasks of `evidence`.

The script asks `evidence completion words` what may come next, so it stays as it is when commands or tasks
are added. Where nothing is known, the shell offers files.

bash:  source <(evidence completion bash)
zsh:   source <(evidence completion zsh), after compinit
fish:  evidence completion fish | source
"""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError

if TYPE_CHECKING:
    from stages.tools.cli import Parser

_SCRIPTS = {
    "bash": """_evidence() {
    local IFS=$'\\n'
    COMPREPLY=($(evidence completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _evidence evidence
""",
    "zsh": """#compdef evidence
_evidence() {
    local -a candidates
    candidates=(${(f)"$(evidence completion words "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#candidates )); then compadd -- $candidates; else _files; fi
}
compdef _evidence evidence
""",
    "fish": """function __evidence_candidates
    set -l tokens (commandline -opc) (commandline -ct)
    evidence completion words $tokens[2..-1] 2>/dev/null
end
complete -c evidence -a '(__evidence_candidates)'
""",
}
_REPEATED = {"*", "+", argparse.REMAINDER}
# Arguments that are tasks, by their names in the parsers; in some commands another name is one.
_TASK_ARGUMENTS = {"task"}
_TASK_ARGUMENTS_OF = {"remove": {"name"}, "verify": {"only"}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("shell", choices=[*_SCRIPTS, "words"], help="`words` is for the scripts")
    parser.add_argument(
        "typed", nargs=argparse.REMAINDER, help="of `words`: what stands after `evidence` so far"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print a script, or the candidates for the last word, a line each."""
    if arguments.shell == "words":
        print("\n".join(candidates(arguments.typed)))
        return
    if arguments.typed:
        raise UserError(f"given {arguments.typed[0]!r} after {arguments.shell}; it takes nothing")
    print(_SCRIPTS[arguments.shell], end="")


def candidates(words: list[str]) -> list[str]:
    """Return what the last of the words may become, none where any text or file may stand.

    Args:
        words: those after `evidence`, the last one unfinished, perhaps "".
    """
    from stages.tools.cli import COMMANDS, Parser, make_parser

    *before, current = words or [""]
    if not before:
        return _matches(COMMANDS, current)
    command, *before = before
    if command not in COMMANDS:
        return []
    parser = make_parser(command)
    position = 0  # of the next argument that is no option
    option: argparse.Action | None = None  # that waits for its value
    for word in before:
        action = _argument(parser, position)
        nested = action.choices if action else None
        if word.startswith("-"):
            option = _options(parser).get(word)
            option = None if option is None or option.nargs == 0 else option
        elif option:
            option = option if option.nargs in _REPEATED else None
        elif isinstance(nested, dict) and isinstance(nested.get(word), Parser):
            parser, position = nested[word], 0  # a command's own command: `evidence faults list`
        else:
            position += 1
    action = option or _argument(parser, position)
    if current.startswith("-") and not option:
        return _matches(_options(parser), current)
    return _matches(_values(action, command), current) if action else []


def _options(parser: "Parser") -> dict[str, argparse.Action]:
    return {name: action for action in parser.actions() for name in action.option_strings}


def _argument(parser: "Parser", position: int) -> argparse.Action | None:
    """Return the argument at a position among those that are no options, None beyond the last."""
    arguments = [action for action in parser.actions() if not action.option_strings]
    if arguments and position >= len(arguments) and arguments[-1].nargs in _REPEATED:
        return arguments[-1]
    return arguments[position] if position < len(arguments) else None


def _matches(values: Iterable[str], start: str) -> list[str]:
    return [value for value in values if value.startswith(start)]


def _values(action: argparse.Action, command: str) -> list[str]:
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    if action.dest in _TASK_ARGUMENTS | _TASK_ARGUMENTS_OF.get(command, set()):
        return task_names()
    return []


def task_names(file: Path = Path("params.yaml")) -> list[str]:
    """Return the tasks that params.yaml names; read without a parser of YAML, which takes too long."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    section = re.search(r"^tasks:[^\n]*\n((?:[ #][^\n]*\n|\n)*)", f"{text}\n", re.MULTILINE)
    lines = section[1] if section else ""
    indent = re.search(r"^( +)[a-z]", lines, re.MULTILINE)
    return re.findall(rf"^{indent[1]}([a-z]\w*):", lines, re.MULTILINE) if indent else []
