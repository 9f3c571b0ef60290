"""The evidence pack as a document: sections of blocks, each block plain text, figures or tables.

`stages.report.rendering` turns a document into Markdown and into an HTML page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Facts:
    """A list of (term, description)."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Command:
    """A shell command."""

    text: str


@dataclass(frozen=True)
class Link:
    """A line that leads to another file of the repository.

    Attributes:
        text: of the line.
        target: the file's path, relative to the page.
    """

    text: str
    target: str


@dataclass(frozen=True)
class Table:
    """A table of formatted cells; `numeric` holds the indices of the columns to align right."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()


@dataclass(frozen=True)
class Figure:
    """A picture with its file name (.svg or .png), its alternative text and its caption."""

    name: str
    data: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Card:
    """The picture of a sample with a title and lines of details."""

    name: str
    data: bytes
    alt: str
    title: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Gallery:
    """Cards side by side."""

    caption: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Quote:
    """A text sample.

    Attributes:
        title: the heading.
        words: each word of the text with its weight, from -1 to 1; large weights are highlighted.
        lines: details.
    """

    title: str
    words: Sequence[tuple[str, float]]
    lines: Sequence[str]


@dataclass(frozen=True)
class Quotes:
    """Text samples, one below the other."""

    caption: str
    quotes: Sequence[Quote]


Block = Text | Facts | Command | Link | Table | Figure | Gallery | Quotes


@dataclass(frozen=True)
class Section:
    """A heading and its blocks; `name` is the anchor of links to the section."""

    name: str
    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A title, the verdict in one line, a summary, and sections."""

    title: str
    verdict: str
    summary: str
    sections: Sequence[Section] = field(default_factory=list)

    def pictures(self) -> dict[str, bytes]:
        """Return every picture by file name."""
        pictures: dict[str, bytes] = {}
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Figure):
                    pictures[block.name] = block.data
                elif isinstance(block, Gallery):
                    pictures |= {card.name: card.data for card in block.cards}
        return pictures
