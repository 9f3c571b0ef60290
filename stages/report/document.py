"""The evidence pack as a document: a first screen, then sections of blocks: plain text, figures, tables.

`stages.report.rendering` turns a document into Markdown and into an HTML page.
"""

from collections.abc import Mapping, Sequence
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
class Figures:
    """Figures side by side where there is room for two."""

    figures: Sequence[Figure]


@dataclass(frozen=True)
class Columns:
    """Blocks in two columns where there is room for two."""

    first: "Sequence[Block]"
    second: "Sequence[Block]"


@dataclass(frozen=True)
class Picture:
    """The picture of a sample, PNG, with its alternative text."""

    data: bytes
    alt: str


@dataclass(frozen=True)
class Tile:
    """The picture of a sample with a label.

    Attributes:
        name: file name of the picture.
        picture: of the sample.
        label: a few words below it.
        case: id of the case to which it leads; "" for none.
    """

    name: str
    picture: Picture
    label: str
    case: str = ""


@dataclass(frozen=True)
class Strip:
    """Tiles in a row."""

    caption: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Quote:
    """A text sample.

    Attributes:
        title: the heading.
        words: each word of the text with its weight, from -1 to 1; large weights are highlighted.
        lines: details.
        case: id of the case to which it leads; "" for none.
    """

    title: str
    words: Sequence[tuple[str, float]]
    lines: Sequence[str]
    case: str = ""


@dataclass(frozen=True)
class Quotes:
    """Text samples, one below the other."""

    caption: str
    quotes: Sequence[Quote]


@dataclass(frozen=True)
class Case:
    """A failure case.

    Attributes:
        id: of the sample, unique among the cases.
        title: what went wrong, in a few words.
        lines: details.
        picture: of the sample, if it is an image.
        words: of the sample, if it is a text, as in `Quote`.
        neighbours: pictures or texts of the most similar samples, with a heading.
        facets: the case's value of each property by which a reader can filter.
        keys: the case's number of each property by which a reader can sort, largest first.
    """

    id: str
    title: str
    lines: Sequence[str]
    picture: Picture | None = None
    words: Sequence[tuple[str, float]] = ()
    neighbours: tuple[str, Sequence[Picture | str]] = ("", ())
    facets: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cases:
    """The failure cases, which a reader can filter and sort.

    Attributes:
        caption: which cases, and in which order.
        cases: those on the page.
        total: number of cases in the file.
        file: path of the table of all cases, relative to the page.
    """

    caption: str
    cases: Sequence[Case]
    total: int
    file: str

    def facets(self) -> dict[str, dict[str, int]]:
        """Return by property the number of cases with each value, where there are at least two values."""
        counts: dict[str, dict[str, int]] = {}
        for case in self.cases:
            for name, value in case.facets.items():
                by_value = counts.setdefault(name, {})
                by_value[value] = by_value.get(value, 0) + 1
        return {name: by_value for name, by_value in counts.items() if len(by_value) > 1}


@dataclass(frozen=True)
class Slider:
    """Pictures of which a slider shows one at a time.

    Attributes:
        caption: what they show.
        frames: label and picture of each, in order.
        first: index of the one that is shown first.
    """

    caption: str
    frames: Sequence[tuple[str, Figure]]
    first: int


Block = (
    Text
    | Facts
    | Command
    | Link
    | Table
    | Figure
    | Figures
    | Columns
    | Strip
    | Quotes
    | Cases
    | Slider
)


@dataclass(frozen=True)
class Section:
    """A heading and its blocks.

    Attributes:
        name: the anchor of links to the section.
        heading: of the section.
        blocks: in order.
        closed: whether a reader opens the section to see its blocks.
    """

    name: str
    heading: str
    blocks: Sequence[Block]
    closed: bool = False


@dataclass(frozen=True)
class Headline:
    """The verdict on the improvement, or another result.

    Attributes:
        sentence: the verdict with its figures.
        verdict: as in metrics.json: better, worse, equivalent, not distinguishable, underpowered, too few
            groups; "" where the document is of no improvement.
    """

    sentence: str
    verdict: str = ""


@dataclass(frozen=True)
class Document:
    """A title, the headline, a summary, sections, and before them the blocks of the first screen."""

    title: str
    headline: Headline
    summary: str
    sections: Sequence[Section] = ()
    first: Sequence[Block] = ()

    def pictures(self) -> dict[str, bytes]:
        """Return every picture that has a file name, by that name."""
        pictures: dict[str, bytes] = {}
        blocks = [*self.first, *(block for part in self.sections for block in part.blocks)]
        while blocks:
            match blocks.pop():
                case Columns(first, second):
                    blocks += [*first, *second]
                case Figure(name, data):
                    pictures[name] = data
                case Figures(figures):
                    pictures |= {figure.name: figure.data for figure in figures}
                case Strip(_, tiles):
                    pictures |= {tile.name: tile.picture.data for tile in tiles}
                case Slider(_, frames):
                    pictures |= {figure.name: figure.data for _, figure in frames}
                case _:
                    pass
        return pictures
