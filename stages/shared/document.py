"""The evidence pack as a document: composed once, rendered as Markdown and as one offline page.

All text is plain text. Whatever comes from data is escaped by the renderer, so a label or a file
name that holds markup stays text.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.shared.refusal import Refusal, printable

_TEMPLATES = Path(__file__).parent / "templates"
_MEGABYTE = 1_000_000
_STRONG, _WEAK = 0.6, 0.25  # weights from which a word is marked, strongly or at all
_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Terms, and what is said of each."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Command:
    """A command to run, as it stands."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table; cells are shown as given."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()


@dataclass(frozen=True)
class Figure:
    """A picture by file name (.svg or .png), with what it shows for those who cannot see it."""

    name: str
    data: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Card:
    """One sample: its picture, a title, and what is said of it."""

    name: str
    data: bytes
    alt: str
    title: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Gallery:
    """Samples side by side."""

    caption: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Quote:
    """One text sample, word by word, and what is said of it.

    Attributes:
        title: above it.
        words: each word and its weight, from -1 to 1; those that weigh much are marked.
        lines: below it.
    """

    title: str
    words: Sequence[tuple[str, float]]
    lines: Sequence[str]


@dataclass(frozen=True)
class Quotes:
    """Text samples one below the other."""

    caption: str
    quotes: Sequence[Quote]


Block = Text | Facts | Command | Table | Figure | Gallery | Quotes


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    name: str
    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A title, the result in a few words, and sections."""

    title: str
    verdict: str
    summary: str
    sections: Sequence[Section] = field(default_factory=list)

    def pictures(self) -> dict[str, bytes]:
        """Return every picture by file name."""
        found: dict[str, bytes] = {}
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Figure):
                    found[block.name] = block.data
                elif isinstance(block, Gallery):
                    found |= {card.name: card.data for card in block.cards}
        return found


def escaped(text: str) -> str:
    """Return plain text as Markdown that shows it as it is, on one line."""
    line = re.sub(r"([\\`*_\[\]<>#|~&!$@])", r"\\\1", printable(text))
    line = re.sub(r"^([-+=])", r"\\\1", line)  # a list or a heading
    line = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)  # a numbered list
    line = re.sub(r"(?i)(https?|ftp):", r"\1\\:", line)  # GitHub makes links of bare addresses
    return re.sub(r"(?i)(www)\.", r"\1\\.", line)


def _code(text: str) -> str:
    line = " ".join(text.split("\n"))
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{line}\n{fence}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int]) -> str:
    rule = ["---:" if index in numeric else "---" for index in range(len(header))]
    return "\n".join([_row(header), _row(rule), *(_row(row) for row in rows)])


def _block(block: Block) -> str:  # noqa: PLR0911 (a return a kind)
    match block:
        case Text(text):
            return escaped(text)
        case Facts(rows):
            return "\n".join(f"- **{escaped(term)}**: {escaped(said)}" for term, said in rows)
        case Command(text):
            return _code(text)
        case Table(caption, header, rows, numeric):
            cells = [[escaped(cell) for cell in row] for row in rows]
            grid = _grid([escaped(cell) for cell in header], cells, numeric)
            return f"{escaped(caption)}\n\n{grid}"
        case Figure(name, _, alt, caption):
            return f"![{escaped(alt)}](pictures/{name})\n\n{escaped(caption)}"
        case Gallery(caption, cards):
            cells = [
                [
                    f"![{escaped(card.alt)}](pictures/{card.name})",
                    f"**{escaped(card.title)}**",
                    "; ".join(escaped(line) for line in card.lines),
                ]
                for card in cards
            ]
            return f"{escaped(caption)}\n\n{_grid(['sample', 'said', 'more'], cells, ())}"
        case Quotes(caption, quotes):
            return "\n\n".join([escaped(caption), *(_quote(quote) for quote in quotes)])


def _quote(quote: Quote) -> str:
    words = [
        f"**{escaped(word)}**" if strength(weight) == "for-2" else escaped(word)
        for word, weight in quote.words
    ]
    said = "; ".join(escaped(line) for line in quote.lines)
    # Words are escaped one by one, so what a line may not begin with is asked of the whole.
    return f"> **{escaped(quote.title)}**\n>\n> {' '.join(words)}\n>\n> {said}"


def strength(weight: float) -> str:
    """Return how a word is marked: for-1, for-2 (speaks for the prediction), against-1, -2, or not."""
    size = 2 if abs(weight) >= _STRONG else 1
    if abs(weight) < _WEAK:
        return ""
    return f"{'for' if weight > 0 else 'against'}-{size}"


def markdown(document: Document) -> str:
    """Return the document as GitHub's Markdown; pictures are looked for in `pictures/`."""
    parts = [f"# {escaped(document.title)}", f"**{escaped(document.verdict)}**"]
    parts.append(escaped(document.summary))
    for section in document.sections:
        parts += [f"## {escaped(section.heading)}", *(_block(block) for block in section.blocks)]
    return "\n\n".join(parts) + "\n"


def _inlined(name: str, data: bytes) -> str:
    return f"data:{_TYPES[Path(name).suffix]};base64,{base64.b64encode(data).decode()}"


def page(document: Document, limit_mb: float) -> str:
    """Return the document as one HTML page that needs nothing else: pictures and style inside.

    Raises:
        Refusal: it is larger than `limit_mb` megabytes.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.j2").render(
        document=document,
        kind=lambda block: type(block).__name__,
        inlined=_inlined,
        strength=strength,
    )
    size = len(text.encode("utf-8", "backslashreplace")) / _MEGABYTE
    if size > limit_mb:
        raise Refusal(
            f"the page would be {size:.1f} MB, pack.page_limit_mb is {limit_mb:g}; show fewer samples "
            "(params, section failures), or raise the limit"
        )
    return text


def plain(document: Document) -> dict[str, Any]:
    """Return the document as data, pictures left out: what the pages say, for a program to read."""
    return {
        "title": document.title,
        "verdict": document.verdict,
        "summary": document.summary,
        "sections": [
            {
                "name": section.name,
                "heading": section.heading,
                "blocks": [_plain_block(block) for block in section.blocks],
            }
            for section in document.sections
        ],
    }


def _plain_block(block: Block) -> dict[str, Any]:
    shown = {key: value for key, value in vars(block).items() if key != "data"}
    if isinstance(block, Gallery):
        shown["cards"] = [
            {key: value for key, value in vars(card).items() if key != "data"}
            for card in block.cards
        ]
    elif isinstance(block, Quotes):
        shown["quotes"] = [vars(quote) for quote in block.quotes]
    return {"kind": type(block).__name__, **shown}
