"""What only a person can say: review notes, one Markdown file a task, a heading for each question."""

import re
from pathlib import Path

from stages.shared.refusal import Refusal

FOLDER = Path("data/review")


def notes(task: str) -> dict[str, str]:
    """Return what stands below each second-level heading of the task's notes; "" where nothing does.

    Comments (`<!-- ... -->`) are not notes.

    Raises:
        Refusal: the file is missing, is not UTF-8, or has no such heading.
    """
    path = FOLDER / f"{task}.md"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}; `git checkout -- {path}` gets it back") from None
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    parts = re.split(
        r"^##[ \t]+(.+?)[ \t]*$",
        re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL),
        flags=re.MULTILINE,
    )
    found: dict[str, str] = {}
    for heading, said in zip(parts[1::2], parts[2::2], strict=True):
        found[heading] = " ".join([*found.get(heading, "").split(), *said.split()])
    if not found:
        raise Refusal(f"{path}: no heading; write each note below one, as in `## Quality`")
    return found
