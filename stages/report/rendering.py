"""Documents as Markdown, as one offline HTML page, and as data.

All text of a document is plain text. It is escaped here, so a label or a file name that holds
markup stays text.
"""

import base64
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stages.core.control_characters import escape_controls
from stages.core.errors import UserError, printable
from stages.report.document import (
    Block,
    Command,
    Document,
    Facts,
    Figure,
    Gallery,
    Link,
    Quote,
    Quotes,
    Table,
    Text,
)
from stages.report.formatting import markdown_table

_TEMPLATES = Path(__file__).parent / "templates"
_MEGABYTE = 1_000_000
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


def render_markdown(document: Document) -> str:
    """Return the document as GitHub-flavoured Markdown; it links to its pictures in `pictures/`."""
    parts = [
        f"# {escape_markdown(document.title)}",
        f"**{escape_markdown(document.verdict)}**",
        escape_markdown(document.summary),
    ]
    for section in document.sections:
        parts.append(f"## {escape_markdown(section.heading)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:  # noqa: PLR0911 (a return for each type)
    match block:
        case Text(text):
            return escape_markdown(text)
        case Facts(rows):
            lines = [f"- **{escape_markdown(t)}**: {escape_markdown(d)}" for t, d in rows]
            return "\n".join(lines)
        case Command(text):
            return _code(text)
        case Link(text, target):
            return f"[{escape_markdown(text)}]({quote(target)})"
        case Table():
            return _table(block)
        case Figure(name, _, alt, caption):
            return f"{_picture(alt, name)}\n\n{escape_markdown(caption)}"
        case Gallery():
            return _gallery(block)
        case Quotes(caption, quotes):
            return "\n\n".join([escape_markdown(caption), *(_quote(quote) for quote in quotes)])


def _code(text: str) -> str:
    """Return a fenced code block whose fence is longer than any in `text`."""
    line = escape_controls(" ".join(text.split("\n")))
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{line}\n{fence}"


def _table(table: Table) -> str:
    header, *rows = ([escape_markdown(cell) for cell in row] for row in [table.header, *table.rows])
    return f"{escape_markdown(table.caption)}\n\n{markdown_table(header, rows, table.numeric)}"


def _gallery(gallery: Gallery) -> str:
    rows = [
        [
            _picture(card.alt, card.name),
            f"**{escape_markdown(card.title)}**",
            "; ".join(escape_markdown(line) for line in card.lines),
        ]
        for card in gallery.cards
    ]
    table = markdown_table(["sample", "prediction", "details"], rows)
    return f"{escape_markdown(gallery.caption)}\n\n{table}"


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
    return f"> **{escape_markdown(quote.title)}**\n>\n> {words}\n>\n> {details}"


def render_page(document: Document, limit_mb: float) -> str:
    """Return the document as one HTML page that holds its pictures and styles and has no scripts.

    Raises:
        UserError: it is larger than `limit_mb` megabytes.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_escape_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        document=document,
        block_type=lambda block: type(block).__name__,
        data_url=_data_url,
        highlight_class=highlight_class,
    )
    size = len(page.encode("utf-8", "backslashreplace")) / _MEGABYTE
    if size > limit_mb:
        raise UserError(
            f"the page would be {size:.1f} MB, and pack.page_limit_mb is {limit_mb:g}; show fewer "
            "samples (params.yaml, section failures), or raise the limit"
        )
    return page


def _escape_plain(value: Any) -> Any:
    """Return plain text with control characters as escapes, anything else (markup, numbers) as it is."""
    return escape_controls(value) if type(value) is str else value


def _data_url(name: str, data: bytes) -> str:
    return f"data:{_MEDIA_TYPES[Path(name).suffix]};base64,{base64.b64encode(data).decode()}"


def to_data(document: Document) -> dict[str, Any]:
    """Return the document as JSON takes it, without the bytes of its pictures."""
    return {
        "title": document.title,
        "verdict": document.verdict,
        "summary": document.summary,
        "sections": [
            {
                "name": section.name,
                "heading": section.heading,
                "blocks": [_block_data(block) for block in section.blocks],
            }
            for section in document.sections
        ],
    }


def _block_data(block: Block) -> dict[str, Any]:
    fields = {key: value for key, value in vars(block).items() if key != "data"}
    if isinstance(block, Gallery):
        fields["cards"] = [
            {key: value for key, value in vars(card).items() if key != "data"}
            for card in block.cards
        ]
    elif isinstance(block, Quotes):
        fields["quotes"] = [vars(quote) for quote in block.quotes]
    return {"kind": type(block).__name__, **fields}
