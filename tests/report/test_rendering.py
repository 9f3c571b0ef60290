"""Text from data stays text: on the HTML page, in Markdown, and in the document as data."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from stages.core.control_characters import CONTROLS, escape_controls
from stages.core.errors import UserError
from stages.report.document import (
    Case,
    Cases,
    Columns,
    Command,
    Document,
    Facts,
    Figure,
    Figures,
    Headline,
    Link,
    Picture,
    Quote,
    Quotes,
    Section,
    Slider,
    Strip,
    Table,
    Text,
    Tile,
)
from stages.report.formatting import markdown_table
from stages.report.rendering import (
    TEMPLATES,
    escape_markdown,
    render_markdown,
    render_page,
    to_data,
)

PNG = b"\x89PNG\r\n\x1a\n-not-really-a-picture"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
VOID = {"meta", "img", "br", "input"}

HOSTILE = [  # the first eight as HTML, the rest as Markdown
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
    "2/5 \U0001f44e\U0001f3fd \U0001f926\u200d\u2642\ufe0f wouldnt go again",
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
# Characters that have a meaning in Markdown or HTML, frequent enough to form constructs.
MARKS = ["\n", "```", "---", "~~", "**", "](", "1. ", "- ", "http://", "www."]
TAGS = ["<b>", "</p>", "<script>", "<!--", "-->", "&amp;", "&#42;"]
MARKUP = st.lists(
    st.sampled_from([*"\\`*_[]<>#|~&!$()-+=.:@/\"'{}^; 019aW\té", *MARKS, *TAGS]), max_size=12
).map("".join)


def case(text: str, facet: str, neighbour: str) -> Case:
    """Return a case with `text` in every place for text."""
    picture = Picture(PNG, text)
    words = [(text, 0.7)]
    near: tuple[str, list[Picture | str]] = (text, [picture] if facet == "a" else [neighbour])
    return Case(
        text, text, [text], picture, words, near, {"kind": facet, "name": text}, {text: 0.5}
    )


def document(text: str) -> Document:
    """Return a document with `text` in every place for text."""
    return Document(
        title=text,
        headline=Headline(text, "better"),
        summary=text,
        first=[
            Columns([Text(text)], [Figures([Figure("chart.svg", SVG, text, text)])]),
            Strip(text, [Tile("tile.png", Picture(PNG, text), text, text)]),
        ],
        sections=[
            Section(
                "first",
                text,
                [
                    Text(text),
                    Facts([(text, text), ("term", text)]),
                    Command(text),
                    Table(text, [text, "second"], [[text, text], ["a", text]], numeric=[1]),
                    Quotes(text, [Quote(text, [(text, 1.0), (text, -0.3), (text, 0.0)], [text])]),
                    Cases(
                        text, [case(text, "a", text), case(f"{text} again", "b", "c")], 7, "x.csv"
                    ),
                    Slider(text, [("0", Figure("frame.png", PNG, text, text))], 0),
                ],
            ),
            Section("second", "Second", [Text(text)], closed=True),
        ],
    )


class Page(HTMLParser):
    """A parsed page: each element with its attributes and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.comments: list[str] = []
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
        self.comments.append(data)

    def unknown_decl(self, data: str) -> None:
        self.comments.append(data)

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]


SHAPE = Page(render_page(document("x"), 1.0)).shape()
TIMES = Page(render_page(document("word"), 1.0)).texts.count


def assert_is_text_on_the_page(text: str) -> None:
    page = Page(render_page(document(text), 1.0))
    assert page.shape() == SHAPE
    assert page.comments == []
    shown = escape_controls(text)
    assert not CONTROLS.search("".join(content for _, content in page.texts))
    for tag in (
        "title",
        "h1",
        "h2",
        "h3",
        "dt",
        "dd",
        "code",
        "th",
        "td",
        "p",
        "summary",
        "option",
    ):
        assert page.texts.count((tag, shown)) == TIMES((tag, "word")) > 0, tag
    assert page.texts.count(("figcaption", shown)) == TIMES(("figcaption", "word"))
    assert set(page.attributes("alt")) == {shown, escape_controls(f"{text} again")}
    assert {"Sections", shown} <= set(page.attributes("aria-label"))
    facets = [json.loads(facets) for facets in page.attributes("data-facets")]
    assert [part["kind"] for part in facets] == ["a", "b"]
    assert [part["name"] for part in facets] == [text, f"{text} again"]
    assert not any(re.search(r"\s", name) for name in page.attributes("id"))


@pytest.mark.parametrize(
    "text", [*HOSTILE[:8], "\x1b[31mred\x1b[0m", "two\nlines", " \t spaces  ", "ünï → 漢字 \u202e"]
)
def test_text_is_the_same_on_the_page(text: str) -> None:
    assert_is_text_on_the_page(text)


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.text(min_size=1), MARKUP.filter(bool)))
def test_any_text_is_the_same_on_the_page(text: str) -> None:
    # The "!" makes it differ from the words of the template.
    assert_is_text_on_the_page("!" + text)


def test_the_page_has_no_script_but_its_own_and_no_external_resource() -> None:
    text = render_page(document("word"), 1.0)
    page = Page(text)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in SHAPE}
    [script] = [content for tag, content in page.texts if tag == "script"]
    assert script == (TEMPLATES / "page.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.attributes("content")[-1]
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    assert not re.search(r"https?:|url\(|@import", text)
    assert all(source.startswith("data:image/") for source in page.attributes("src"))
    assert page.attributes("src")
    inner = {link[1:] for link in page.attributes("href") if link.startswith("#")}
    assert inner <= set(page.attributes("id"))
    assert len(inner) == 5  # the content, two sections, two cases
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]


def test_the_page_embeds_its_pictures() -> None:
    chart, card, *_ = Page(render_page(document("word"), 1.0)).attributes("src")
    kind, _, data = chart.partition(";base64,")
    assert (kind, base64.b64decode(data)) == ("data:image/svg+xml", SVG)
    kind, _, data = card.partition(";base64,")
    assert (kind, base64.b64decode(data)) == ("data:image/png", PNG)


def test_a_page_above_its_size_limit_is_an_error() -> None:
    size = len(render_page(document("ü"), 1.0).encode()) / 1_000_000
    render_page(document("ü"), size)
    with pytest.raises(UserError, match=r"pack\.page_limit_mb"):
        render_page(document("ü"), size - 0.000001)


def test_a_large_picture_counts_towards_the_limit() -> None:
    section = Section("a", "b", [Figure("x.png", bytes(900_000), "", "")])
    large = Document("t", Headline("v"), "s", [section])
    with pytest.raises(UserError, match=r"1\.2 MB"):  # base64 is a third larger
        render_page(large, 1.0)


def children(tokens: list[Token]) -> list[Token]:
    return [child for token in tokens for child in token.children or []]


def visible_text(token: Token) -> str:
    """Return the text that a reader sees; of a picture, its alternative text."""
    return "".join(visible_text(child) for child in token.children or []) or token.content


def assert_displays(text: str, expected: str) -> None:
    tokens = PARSER.parse(text)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in children(tokens)} == {"text"}
    assert visible_text(tokens[1]) == expected


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_displayed_literally(text: str) -> None:
    assert_displays(escape_markdown(text), text)


@settings(max_examples=50, deadline=None)
@given(st.one_of(MARKUP, st.text("*_`[]()<>!\\&#|~-+=1.a ")))
def test_any_markup_is_displayed_literally_on_one_line(text: str) -> None:
    expected = " ".join(text.split())
    if expected:
        assert_displays(escape_markdown(text), expected)
    else:
        assert escape_markdown(text) == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_every_character_with_a_meaning_is_escaped(text: str) -> None:
    line = escape_markdown(text)
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
def test_an_address_does_not_become_a_link(text: str) -> None:
    # GitHub turns plain addresses into links, unless a backslash is inside them.
    assert not re.search(r"[a-z]://|www\.", escape_markdown(text), re.IGNORECASE)
    assert_displays(escape_markdown(text), text)


def test_control_characters_and_line_ends_become_spaces_in_markdown() -> None:
    assert escape_markdown("\x1b[31mred\x1b[0m") == "\\[31mred \\[0m"
    assert (
        escape_markdown("one\r\n\n# two\u2028three\x00\ufefffour\ud800") == "one \\# two three four"
    )


def markup_of(token: Token) -> list[str]:
    return [child.type for child in token.children or [] if child.type != "text"]


def shape_of(text: str) -> list[tuple[str, str]]:
    return [
        (token.type, token.tag)
        for top in PARSER.parse(text)
        for token in (top, *(top.children or []))
        if token.type not in {"text", "softbreak"}
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_changes_the_structure_of_the_markdown(text: str) -> None:
    assert shape_of(render_markdown(document(text))) == shape_of(render_markdown(document("word")))


@settings(max_examples=25, deadline=None)
@given(MARKUP.filter(str.strip))
def test_any_text_is_displayed_literally_in_every_place_of_the_markdown(text: str) -> None:
    tokens, words = (PARSER.parse(render_markdown(document(content))) for content in (text, "word"))
    expected = " ".join(text.split())
    assert [token.type for token in tokens] == [token.type for token in words]
    for token, word in zip(tokens, words, strict=True):
        if token.type != "inline":
            continue
        assert markup_of(token) == markup_of(word)
        assert visible_text(token) == visible_text(word).replace("word", expected)


@pytest.mark.parametrize(
    "text",
    ["dvc repro", "echo `date`", "echo ```` ` ``", "```", "`````\n# no heading", "a\n```\nb"],
)
def test_a_command_is_one_line_in_its_fence(text: str) -> None:
    section = Section("a", "b", [Command(text), Text("after")])
    markdown = render_markdown(Document("t", Headline("v"), "s", [section]))
    fences = [token for token in PARSER.parse(markdown) if token.type == "fence"]
    assert [fence.content for fence in fences] == [text.replace("\n", " ") + "\n"]
    assert fences[0].info == "sh"
    assert shape_of(markdown)[-2:] == [("inline", ""), ("paragraph_close", "p")]


def test_markdown_links_to_picture_files_and_the_document_has_their_bytes() -> None:
    tokens = children(PARSER.parse(render_markdown(document("word"))))
    images = [token for token in tokens if token.type == "image"]
    assert [image.attrs["src"] for image in images] == ["pictures/chart.svg", "pictures/tile.png"]
    pictures = {"chart.svg": SVG, "tile.png": PNG, "frame.png": PNG}
    assert document("word").pictures() == pictures


def test_numbers_are_aligned_right() -> None:
    tokens = PARSER.parse(render_markdown(document("word")))
    cells = [token for token in tokens if token.type == "th_open"]
    assert [cell.attrs.get("style") for cell in cells][:2] == [None, "text-align:right"]
    page = Page(render_page(document("word"), 1.0))
    assert len([1 for kind in page.attributes("class") if kind == "number"]) == 3


@pytest.mark.parametrize("text", HOSTILE)
def test_the_document_as_data_has_the_same_text_without_its_pictures(text: str) -> None:
    data = json.loads(json.dumps(to_data(document(text))))
    headline = {"sentence": text, "verdict": "better"}
    assert (data["title"], data["headline"], data["summary"]) == (text, headline, text)
    assert [section["name"] for section in data["sections"]] == ["first", "second"]
    blocks = {block.pop("kind"): block for block in data["sections"][0]["blocks"]}
    assert blocks["Text"] == {"text": text}
    assert blocks["Facts"] == {"rows": [[text, text], ["term", text]]}
    figure = {"name": "chart.svg", "alt": text, "caption": text}
    columns, strip = data["first"]
    assert columns["second"] == [{"figures": [figure]}]
    tile = {"name": "tile.png", "picture": {"alt": text}, "label": text, "case": text}
    assert strip == {"kind": "Strip", "caption": text, "tiles": [tile]}
    words = [[text, 1.0], [text, -0.3], [text, 0.0]]
    quote = {"title": text, "words": words, "lines": [text], "case": ""}
    assert blocks["Quotes"] == {"caption": text, "quotes": [quote]}


@pytest.mark.parametrize("text", [*HOSTILE, "plain words"])
def test_a_link_leads_to_its_file_whatever_its_text_says(text: str) -> None:
    target = "../a folder/x(1)&<.md"
    block = Document("t", Headline("v"), "s", [Section("a", "b", [Link(text, target)])])
    tokens = [
        child for token in PARSER.parse(render_markdown(block)) for child in token.children or []
    ]
    links = [unquote(str(token.attrs["href"])) for token in tokens if token.type == "link_open"]
    assert links == [target]
    page = Page(render_page(block, 1.0))
    assert [unquote(link) for link in page.attributes("href") if "#" not in link] == [target]
    assert to_data(block)["sections"][0]["blocks"] == [
        {"kind": "Link", "text": text, "target": target}
    ]


def test_words_are_highlighted_by_their_weight() -> None:
    words = [("strong", 0.6), ("weak", 0.25), ("none", 0.24), ("against", -0.25), ("never", -1.0)]
    section = Section("a", "b", [Quotes("c", [Quote("q", words, [])])])
    document_of_words = Document("t", Headline("v"), "s", [section])
    page = Page(render_page(document_of_words, 1.0))
    marks = [(text.strip(), tag) for tag, text in page.texts if tag == "mark"]
    assert [word for word, _ in marks] == ["strong", "weak", "against", "never"]
    classes = [attributes["class"] for tag, attributes in page.elements if tag == "mark"]
    assert classes == ["for-2", "for-1", "against-1", "against-2"]
    assert "**strong** weak none against never" in render_markdown(document_of_words)


def test_a_bar_does_not_end_a_cell_of_a_markdown_table() -> None:
    table = markdown_table(["a|b", "n"], [["c|d", 1], [escape_markdown("e|f"), 2]], [1])
    assert table.split("\n") == [
        r"| a\|b | n |",
        "| --- | ---: |",
        r"| c\|d | 1 |",
        r"| e\|f | 2 |",
    ]
    cells = [visible_text(token) for token in PARSER.parse(table) if token.type == "inline"]
    assert cells == ["a|b", "n", "c|d", "1", "e|f", "2"]
