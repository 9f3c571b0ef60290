"""Documents as Markdown, as one offline HTML page, and as data.

All text of a document is plain text. It is escaped here, so a label or a file name that holds
markup stays text.
"""

import base64
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from html import escape as escape_html
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stages.core.control_characters import escape_controls
from stages.core.errors import UserError, printable
from stages.report.document import (
    Block,
    Cases,
    Columns,
    Command,
    Document,
    Facts,
    Figure,
    Figures,
    Link,
    Quote,
    Quotes,
    Slider,
    Strip,
    Table,
    Text,
)
from stages.report.formatting import markdown_table

TEMPLATES = Path(__file__).parent / "templates"
MEGABYTE = 1_000_000
_SHORT = 3  # rows of a table in short Markdown
_STRONG, _WEAK = 0.6, 0.25  # weights from which a word is highlighted, strongly or at all
_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def escape_markdown(text: str) -> str:
    """Return plain text as one line of Markdown that displays it literally."""
    line = re.sub(r"([\\`*_\[\]<>#|~&!$@])", r"\\\1", printable(text))
    line = re.sub(r"^([-+=])", r"\\\1", line)  # a list or a heading
    line = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)  # a numbered list
    line = re.sub(r"(?i)(https?|ftp):", r"\1\\:", line)  # GitHub turns bare addresses into links
    return re.sub(r"(?i)(www)\.", r"\1\\.", line)


def highlight_class(weight: float) -> str:
    """Return the CSS class of a word: for-1, for-2, against-1, against-2, or "" for a small weight.

    Args:
        weight: from -1 (speaks against the prediction) to 1 (speaks for it).
    """
    if abs(weight) < _WEAK:
        return ""
    return f"{'for' if weight > 0 else 'against'}-{2 if abs(weight) >= _STRONG else 1}"


def render_markdown(document: Document, *, short: bool = False) -> str:
    """Return the document as GitHub-flavoured Markdown; it links to its pictures in `pictures/`.

    Args:
        document: to render. Cases, which a reader filters on the page, are counted and linked.
        short: of tables only the first rows; of closed sections no tables and figures, and those with
            nothing else not at all.
    """
    rows = _SHORT if short else None
    verdict, sign = document.headline.verdict, ""
    if verdict:
        sign = f"{TONES[verdict].sign} **{verdict.capitalize()}:** "
    parts = [
        f"# {escape_markdown(document.title)}",
        f"{sign}**{escape_markdown(document.headline.sentence)}**",
        escape_markdown(document.summary),
        *(_block(block, rows) for block in document.first),
    ]
    for section in document.sections:
        selection = section.blocks
        if section.closed and short:
            selection = [
                block for block in selection if not isinstance(block, Table | Figure | Figures)
            ]
            if all(isinstance(block, Text) for block in selection):
                continue
        blocks = [_block(block, rows) for block in selection]
        heading = escape_markdown(section.heading)
        if section.closed:
            heading = escape_html(section.heading)
            parts += [f"<details><summary>{heading}</summary>", *blocks, "</details>"]
        else:
            parts += [f"## {heading}", *blocks]
    return "\n\n".join(filter(None, parts)) + "\n"


def _block(block: Block, rows: int | None) -> str:  # noqa: C901, PLR0911 (a case for each type)
    match block:
        case Text(text):
            return escape_markdown(text)
        case Facts(facts):
            lines = [f"- **{escape_markdown(t)}**: {escape_markdown(d)}" for t, d in facts]
            return "\n".join(lines)
        case Command(text):
            return _code(text)
        case Link(text, target):
            return f"[{escape_markdown(text)}]({quote(target)})"
        case Table():
            return _table(block, rows)
        case Figure():
            return _figure(block)
        case Columns(first, second):
            return "\n\n".join(_block(part, rows) for part in [*first, *second])
        case Figures(figures):
            return "\n\n".join(map(_figure, figures))
        case Strip():
            return _strip(block)
        case Quotes(caption, quotes):
            return "\n".join([escape_markdown(caption), "", *map(_quote, quotes)])
        case Cases():
            return _cases(block)
        case Slider():
            return ""


def _figure(figure: Figure) -> str:
    return f"{_picture(figure.alt, figure.name)}  \n{escape_markdown(figure.caption)}"


def _code(text: str) -> str:
    """Return a fenced code block whose fence is longer than any in `text`."""
    line = escape_controls(" ".join(text.split("\n")))
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{line}\n{fence}"


def _table(table: Table, rows: int | None) -> str:
    cells = [table.header, *table.rows[:rows]]
    header, *rest = ([escape_markdown(cell) for cell in row] for row in cells)
    caption = table.caption
    if len(rest) < len(table.rows):
        caption += f" (the first {len(rest)} rows of {len(table.rows)})"
    return f"{escape_markdown(caption)}\n\n{markdown_table(header, rest, table.numeric)}"


def _strip(strip: Strip) -> str:
    pictures = " ".join(_picture(tile.picture.alt, tile.name) for tile in strip.tiles)
    labels = "; ".join(dict.fromkeys(tile.label for tile in strip.tiles))
    return f"{escape_markdown(strip.caption)}  \n{pictures}  \n{escape_markdown(labels)}"


def _cases(cases: Cases) -> str:
    """Return where the cases are."""
    file = quote(cases.file)
    return f"[All {cases.total} cases]({file}); with pictures and filters: [index.html](index.html)"


def _picture(alt: str, name: str) -> str:
    return f"![{escape_markdown(alt)}](pictures/{name})"


def _quote(quote: Quote) -> str:
    words = " ".join(
        f"**{escape_markdown(word)}**"
        if highlight_class(weight) == "for-2"
        else escape_markdown(word)
        for word, weight in quote.words
    )
    details = "; ".join(escape_markdown(line) for line in quote.lines)
    return f"- **{escape_markdown(quote.title)}**: {words}{f' ({details})' if details else ''}"


@dataclass(frozen=True)
class Tone:
    """How a verdict looks: a CSS class for its colour, and a sign that tells it without colour."""

    css: str
    sign: str


TONES = {
    "better": Tone("good", "▲"),
    "worse": Tone("bad", "▼"),
    "equivalent": Tone("same", "="),
    "not distinguishable": Tone("open", "?"),
    "underpowered": Tone("open", "…"),
    "too few groups": Tone("open", "…"),
}


def render_page(document: Document, limit_mb: float) -> str:
    """Return the document as one HTML page that holds its pictures, its style and its script.

    Raises:
        UserError: it is larger than `limit_mb` megabytes.
    """
    page = render_template("page.html.j2", document=document)
    size = len(page.encode("utf-8", "backslashreplace")) / MEGABYTE
    if size > limit_mb:
        raise UserError(
            f"the page would be {size:.1f} MB, and pack.page_limit_mb is {limit_mb:g}; raise the limit "
            "in params.yaml"
        )
    return page


def render_template(name: str, folder: Path = TEMPLATES, **values: Any) -> str:
    """Return a page from a template; all text is escaped, and only the page's own script may run.

    Args:
        name: of the template.
        folder: that holds it, beside the templates of this package.
        values: that the template names.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        finalize=_escape_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {
        "tones": TONES,
        "anchor": anchor,
        "block_type": lambda block: type(block).__name__,
        "data_url": _data_url,
        "highlight_class": highlight_class,
        "json": json.dumps,
        "script": Markup(script),  # noqa: S704 (our own file)
        "script_hash": f"sha256-{digest}",
    }
    return environment.get_template(name).render(**values)


def anchor(case: str) -> str:
    """Return the HTML id of a case: it has no blanks, which ids may not have."""
    return "case-" + re.sub(r"\s", "_", escape_controls(case))


def _escape_plain(value: Any) -> Any:
    """Return plain text with control characters as escapes, anything else (markup, numbers) as it is."""
    return escape_controls(value) if type(value) is str else value


def _data_url(name: str, data: bytes) -> str:
    return f"data:{_MEDIA_TYPES[Path(name).suffix]};base64,{base64.b64encode(data).decode()}"


def to_data(document: Document) -> dict[str, Any]:
    """Return the document as JSON takes it, without the bytes of its pictures."""
    return {
        "title": document.title,
        "headline": asdict(document.headline),
        "summary": document.summary,
        "first": [_block_data(block) for block in document.first],
        "sections": [
            {
                "name": section.name,
                "heading": section.heading,
                "closed": section.closed,
                "blocks": [_block_data(block) for block in section.blocks],
            }
            for section in document.sections
        ],
    }


def _block_data(block: Block) -> dict[str, Any]:
    return {"kind": type(block).__name__, **_without_bytes(asdict(block))}


def _without_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_bytes(item) for key, item in value.items() if not isinstance(item, bytes)
        }
    if isinstance(value, list | tuple):
        return [_without_bytes(item) for item in value]
    return value
