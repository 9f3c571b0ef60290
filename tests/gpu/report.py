"""The results of each part as JSON, and docs/gpu.md, which is written from them."""

import json
from pathlib import Path
from typing import Any

from support.project import ROOT

from stages.core.files import to_json

RESULTS = ROOT / "tests/gpu/results"
PAGE = ROOT / "docs/gpu.md"


def record(part: str, result: dict[str, Any], folder: Path = RESULTS) -> None:
    """Write the result of a part."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.json").write_bytes(to_json(result))


def write_page(folder: Path = RESULTS, page_file: Path = PAGE) -> None:
    """Write the page from the results."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    page_file.write_text(page(results), encoding="utf-8")


def page(results: dict[str, Any]) -> str:
    """Return docs/gpu.md."""
    return "# On a GPU, measured\n"
