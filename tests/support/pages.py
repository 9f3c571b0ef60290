"""What a pack's page says."""

import re
from html import unescape
from pathlib import Path
from typing import Any

from stages.core.files import read_json


def page_text(pack: Path) -> str:
    """Return the text of a pack's page, without its style and script, in one line."""
    page = (pack / "index.html").read_text(encoding="utf-8")
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def page_table(folder: Path, task: str, caption: str) -> list[list[str]]:
    """Return the rows of the table whose caption begins so on the page of a task."""
    document: dict[str, Any] = read_json(folder / f"data/pack/{task}/document.json")
    blocks = [block for section in document["sections"] for block in section["blocks"]]
    (rows,) = [
        block["rows"]
        for block in blocks
        if block["kind"] == "Table" and block["caption"].startswith(caption)
    ]
    return [list(row) for row in rows]
