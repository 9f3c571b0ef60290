"""Review notes: what a person writes about a result, in data/review/<task>.md, a heading for each note."""

import re
from pathlib import Path

from stages.core.errors import UserError

FOLDER = Path("data/review")


def read_review(task: str) -> dict[str, str]:
    """Return the note below each second-level heading of the task's file; "" where it is empty.

    Comments (`<!-- ... -->`) are not part of a note.

    Raises:
        UserError: the file is missing, is not UTF-8, or has no such heading.
    """
    path = FOLDER / f"{task}.md"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; `git checkout -- {path}` restores it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    notes = parse_notes(text)
    if not notes:
        raise UserError(f"{path}: no heading; write each note below one, such as `## Quality`")
    return notes


def parse_notes(text: str) -> dict[str, str]:
    """Return the note below each second-level heading of a Markdown text; comments are no part of it."""
    without_comments = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    parts = re.split(r"^##[ \t]+(.+?)[ \t]*$", without_comments, flags=re.MULTILINE)
    notes: dict[str, str] = {}
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        notes[heading] = " ".join([*notes.get(heading, "").split(), *body.split()])
    return notes
