"""Adding and removing a section of a YAML file as text: every other byte of the file stays as it is.

The files are written in block style with an indent of two: params.yaml (a task below `tasks:`) and
dvc.lock (a stage below `stages:`).
"""

import re

from stages.core.errors import UserError

_INDENT = "  "


def add_section(text: str, parent: str, section: str) -> str:
    """Return `text` with `section` after the last section below the top-level key `parent`.

    Args:
        text: of the file.
        parent: a top-level key.
        section: whole lines, indented by two.

    Raises:
        UserError: the text has no such key in block style.
    """
    lines, newline = _split(text)
    start, end = _children(lines, parent)
    if start == end:
        raise UserError(f"{parent}: must have sections below it, each indented by two blanks")
    section_lines = ["", *section.rstrip("\n").split("\n")]
    return newline.join([*lines[:end], *section_lines, *lines[end:]]) + (
        "" if lines[end:] else newline
    )


def remove_section(text: str, parent: str, name: str) -> str:
    """Return `text` without the section `name` below `parent` and one blank line beside it.

    Raises:
        UserError: there is no such section in block style.
    """
    lines, newline = _split(text)
    first, last = _children(lines, parent)
    key = re.compile(rf"{_INDENT}(['\"]?){re.escape(name)}\1:(\s|$)")
    start = next((index for index in range(first, last) if key.match(lines[index])), None)
    if start is None:
        raise UserError(f"{parent}.{name}: no such section, indented by two blanks")
    end = start + 1
    while end < last and (not lines[end].strip() or lines[end].startswith(_INDENT + " ")):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    if not lines[start - 1].strip():
        start -= 1
    elif end < len(lines) and not lines[end].strip() and lines[end:] != [""]:
        end += 1
    return newline.join([*lines[:start], *lines[end:]])


def _split(text: str) -> tuple[list[str], str]:
    newline = "\r\n" if "\r\n" in text else "\n"
    return text.split(newline), newline


def _children(lines: list[str], parent: str) -> tuple[int, int]:
    """Return the first line below a top-level key, and the one after the last that is not blank."""
    start = next((i for i, line in enumerate(lines) if re.match(rf"{parent}:\s*(#|$)", line)), None)
    if start is None:
        raise UserError(f"{parent}: no such top-level key with sections below it")
    end = last = start + 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith((" ", "#"))):
        end += 1
        if lines[end - 1].startswith(" ") and lines[end - 1].strip():
            last = end
    return start + 1, last
