"""Text from data stays text: on the page, in Markdown, and in the document as data."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from stages.shared.document import (
    Card,
    Command,
    Document,
    Facts,
    Figure,
    Gallery,
    Section,
    Table,
    Text,
    escaped,
    markdown,
    page,
    plain,
)
from stages.shared.refusal import Refusal

PNG = b"\x89PNG\r\n\x1a\n-not-really-a-picture"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
VOID = {"meta", "img", "br"}

HOSTILE = [  # the first eight to HTML, the others to Markdown
    "<script>alert(1)</script>",
    "</title></style><script src=https://evil.example/x.js></script>",
    '" onerror="alert(1)',
    "' onload='alert(1)",
    "<!-- not a comment -->",
    "<![CDATA[ neither ]]>",
    "&lt;b&gt; &amp;amp; &#42; &nbsp;",
    "{{ document.title }} {% raw %}",
    "*one* **two** _three_ __four__ ~~five~~",
    "[x](y) ![x](y) [x]: y [^1] [ ] <y>",
    "a | b | c",
    "\\| \\\\| \\* \\",
    "# no heading #",
    "> no quote",
    "- no item",
    "+ no item",
    "1. no item",
    "12) no item",
    "=====",
    "---",
    "***",
    "~~~",
    "```sh",
    "`code` ``code``",
    "$x$ $$y$$ $`z`$",
    "--- | ---",
    ":--- | ---:",
    "https://example.com/a_b_c?x=*y*",
    "see http://example.com, ftp://example.com and (www.example.com)",
    "<https://example.com>",
]
# A letter or two of all that Markdown and HTML know, often enough to make something of it.
MARKS = ["\n", "```", "---", "~~", "**", "](", "1. ", "- ", "http://", "www."]
TAGS = ["<b>", "</p>", "<script>", "<!--", "-->", "&amp;", "&#42;"]
MARKUP = st.lists(
    st.sampled_from([*"\\`*_[]<>#|~&!$()-+=.:@/\"'{}^; 019aW\té", *MARKS, *TAGS]), max_size=12
).map("".join)


def document(text: str) -> Document:
    """Return a document that shows `text` wherever text can stand."""
    return Document(
        title=text,
        verdict=text,
        summary=text,
        sections=[
            Section(
                "first",
                text,
                [
                    Text(text),
                    Facts([(text, text), ("term", text)]),
                    Command(text),
                    Table(text, [text, "second"], [[text, text], ["a", text]], numeric=[1]),
                    Figure("chart.svg", SVG, text, text),
                    Gallery(text, [Card("one.png", PNG, text, text, [text, text])]),
                ],
            ),
            Section("second", "Second", [Text(text)]),
        ],
    )


class Reader(HTMLParser):
    """What a browser makes of a page: each element with its attributes, and the text in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.other: list[str] = []
        self.open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append((tag, []))

    def handle_endtag(self, tag: str) -> None:
        name, parts = self.open.pop()
        assert name == tag, f"</{tag}> closes <{name}>"
        self.texts.append((tag, "".join(parts)))

    def handle_data(self, data: str) -> None:
        if self.open:
            self.open[-1][1].append(data)

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]


SHAPE = Reader(page(document("x"), 1.0)).shape()
TIMES = Reader(page(document("word"), 1.0)).texts.count


def assert_stays_text_on_the_page(text: str) -> None:
    read = Reader(page(document(text), 1.0))
    assert read.shape() == SHAPE
    assert read.other == []
    for tag in ("title", "h1", "h2", "h3", "dt", "dd", "code", "caption", "th", "td", "p"):
        assert read.texts.count((tag, text)) == TIMES((tag, "word")) > 0, tag
    assert read.texts.count(("figcaption", text)) == 1
    assert read.attributes("alt") == [text, text]
    assert read.attributes("aria-label") == ["Stages", text]


@pytest.mark.parametrize(
    "text", [*HOSTILE[:8], "\x1b[31mred\x1b[0m", "two\nlines", " \t spaces  ", "ünï → 漢字 \u202e"]
)
def test_text_comes_back_from_the_page_exactly(text: str) -> None:
    assert_stays_text_on_the_page(text)


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.text(min_size=1), MARKUP.filter(bool)))
def test_any_text_comes_back_from_the_page_exactly(text: str) -> None:
    # With a "!" before it, it is none of the words that stand on the page anyway.
    assert_stays_text_on_the_page("!" + text)


def test_the_page_has_no_script_and_needs_nothing_from_outside() -> None:
    text = page(document("word"), 1.0)
    read = Reader(text)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in SHAPE}
    assert not re.search(r"https?:|url\(|@import", text)
    assert all(source.startswith("data:image/") for source in read.attributes("src"))
    assert read.attributes("src")
    assert all(link.startswith("#") for link in read.attributes("href"))
    assert {link[1:] for link in read.attributes("href")} <= set(read.attributes("id"))
    assert not [name for _, attributes in read.elements for name in attributes if name[:2] == "on"]


def test_pictures_lie_inside_the_page_whole_and_as_images() -> None:
    chart, card = Reader(page(document("word"), 1.0)).attributes("src")
    kind, _, data = chart.partition(";base64,")
    assert (kind, base64.b64decode(data)) == ("data:image/svg+xml", SVG)
    kind, _, data = card.partition(";base64,")
    assert (kind, base64.b64decode(data)) == ("data:image/png", PNG)


def test_a_page_over_its_limit_is_refused_and_one_at_it_is_not() -> None:
    size = len(page(document("ü"), 1.0).encode()) / 1_000_000
    page(document("ü"), size)
    with pytest.raises(Refusal, match=r"pack\.page_limit_mb"):
        page(document("ü"), size - 0.000001)


def test_a_large_picture_counts_towards_the_limit() -> None:
    large = Document("t", "v", "s", [Section("a", "b", [Figure("x.png", bytes(900_000), "", "")])])
    with pytest.raises(Refusal, match=r"1\.2 MB"):  # base64 makes a third more of it
        page(large, 1.0)


def children(tokens: list[Token]) -> list[Token]:
    return [child for token in tokens for child in token.children or []]


def shown(token: Token) -> str:
    """Return the text that a reader sees, or is told of a picture."""
    return "".join(shown(child) for child in token.children or []) or token.content


def assert_reads_as(text: str, expected: str) -> None:
    tokens = READER.parse(text)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in children(tokens)} == {"text"}
    assert shown(tokens[1]) == expected


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_reads_as_it_was_written(text: str) -> None:
    assert_reads_as(escaped(text), text)


@settings(max_examples=50, deadline=None)
@given(st.one_of(MARKUP, st.text("*_`[]()<>!\\&#|~-+=1.a ")))
def test_any_markup_reads_as_it_was_written_on_one_line(text: str) -> None:
    expected = " ".join(text.split())
    if expected:
        assert_reads_as(escaped(text), expected)
    else:
        assert escaped(text) == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_every_active_character_stands_behind_a_backslash(text: str) -> None:
    line = escaped(text)
    for match in re.finditer(r"[`*_\[\]<>#|~&!$]", line):
        before = line[: match.start()]
        assert (len(before) - len(before.rstrip("\\"))) % 2 == 1, line


@pytest.mark.parametrize(
    "text",
    [
        "https://a.com",
        "see HTTP://a.com",
        "(ftp://a.com)",
        "www.a.com",
        "at WWW.a.com",
        "*www.a.com*",
    ],
)
def test_an_address_is_not_made_a_link(text: str) -> None:
    # GitHub makes links of plain addresses; a backslash inside them keeps it from that.
    assert not re.search(r"[a-z]://|www\.", escaped(text), re.IGNORECASE)
    assert_reads_as(escaped(text), text)


def test_control_characters_and_line_ends_become_spaces_in_markdown() -> None:
    assert escaped("\x1b[31mred\x1b[0m") == "\\[31mred \\[0m"
    assert escaped("one\r\n\n# two\u2028three\x00\ufefffour\ud800") == "one \\# two three four"


def shape_of(text: str) -> list[tuple[str, str]]:
    return [
        (token.type, token.tag)
        for top in READER.parse(text)
        for token in (top, *(top.children or []))
        if token.type not in {"text", "softbreak"}
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_changes_the_structure_of_the_markdown(text: str) -> None:
    assert shape_of(markdown(document(text))) == shape_of(markdown(document("word")))


@settings(max_examples=25, deadline=None)
@given(MARKUP.filter(str.strip))
def test_any_text_reads_as_itself_wherever_it_stands_in_the_markdown(text: str) -> None:
    tokens, words = (READER.parse(markdown(document(one))) for one in (text, "word"))
    expected = " ".join(text.split())
    assert [token.type for token in tokens] == [token.type for token in words]
    for token, word in zip(tokens, words, strict=True):
        if token.type != "inline":
            continue
        assert [one.type for one in token.children or [] if one.type != "text"] == [
            one.type for one in word.children or [] if one.type != "text"
        ]
        assert shown(token) == shown(word).replace("word", expected)


@pytest.mark.parametrize(
    "text",
    ["dvc repro", "echo `date`", "echo ```` ` ``", "```", "`````\n# no heading", "a\n```\nb"],
)
def test_a_command_stays_in_its_fence_on_one_line(text: str) -> None:
    written = markdown(Document("t", "v", "s", [Section("a", "b", [Command(text), Text("after")])]))
    fences = [token for token in READER.parse(written) if token.type == "fence"]
    assert [fence.content for fence in fences] == [text.replace("\n", " ") + "\n"]
    assert fences[0].info == "sh"
    assert shape_of(written)[-2:] == [("inline", ""), ("paragraph_close", "p")]


def test_markdown_names_pictures_by_file_and_the_document_holds_their_bytes() -> None:
    images = [t for t in children(READER.parse(markdown(document("word")))) if t.type == "image"]
    assert [image.attrs["src"] for image in images] == ["pictures/chart.svg", "pictures/one.png"]
    assert document("word").pictures() == {"chart.svg": SVG, "one.png": PNG}


def test_numbers_stand_to_the_right() -> None:
    cells = [token for token in READER.parse(markdown(document("word"))) if token.type == "th_open"]
    assert [cell.attrs.get("style") for cell in cells][:2] == [None, "text-align:right"]
    read = Reader(page(document("word"), 1.0))
    assert len([1 for kind in read.attributes("class") if kind == "number"]) == 3


@pytest.mark.parametrize("text", HOSTILE)
def test_the_document_as_data_says_the_same_without_its_pictures(text: str) -> None:
    data = json.loads(json.dumps(plain(document(text))))
    assert (data["title"], data["verdict"], data["summary"]) == (text, text, text)
    assert [section["name"] for section in data["sections"]] == ["first", "second"]
    blocks = {block.pop("kind"): block for block in data["sections"][0]["blocks"]}
    assert blocks["Text"] == {"text": text}
    assert blocks["Facts"] == {"rows": [[text, text], ["term", text]]}
    assert blocks["Figure"] == {"name": "chart.svg", "alt": text, "caption": text}
    card = {"name": "one.png", "alt": text, "title": text, "lines": [text, text]}
    assert blocks["Gallery"] == {"caption": text, "cards": [card]}
