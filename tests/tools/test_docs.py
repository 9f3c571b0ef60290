"""The documentation: links, files, commands and params exist, and the reference is up to date."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.project import ROOT, read_params

from stages.core.errors import UserError
from stages.kinds.params import load_params, load_tasks
from stages.tools.cli import COMMANDS, make_parser
from stages.tools.reference import MEANINGS, match_column, pack_files, reference
from stages.tools.reference_params import format_range

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "data/raw/*/README.md")
    for path in ROOT.glob(pattern)
)
FOLDERS = (
    r"(stages|tests|docs|requirements|data/raw|data/review|evidence|metrics|plots|\.github|\.ci)/"
)
EXAMPLE = "photos"  # the task that README adds; it does not exist
SECTIONS = "prepare|check|baseline|train|evaluate|failures|pack|runtime|tolerance"
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(
        r"^ *```.*?^ *```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE
    )


def code_spans(page: str) -> list[str]:
    """Return the inline code of a page, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def shell_lines(page: str) -> Iterator[list[str]]:
    """Yield the commands in the shell blocks of a page, split into words."""
    blocks = re.findall(
        r"^ *```sh\n(.*?)^ *```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def anchors(page: Path) -> set[str]:
    """Return the anchors of a Markdown file's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@each_page
def test_links_lead_to_files_and_headings(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@each_page
def test_named_files_exist(page: str) -> None:
    for span in code_spans(page):
        path = re.sub(r"\$\{[^}]*\}|<\w+>", "*", span).rstrip("/")
        if re.match(FOLDERS, f"{path}/") and " " not in path and EXAMPLE not in path:
            assert any(ROOT.glob(path)), span


@each_page
def test_commands_exist(page: str) -> None:
    lines = [*shell_lines(page), *(span.split() for span in code_spans(page))]
    for program, *arguments in filter(None, lines):
        name = next(iter(arguments), "")
        if program == "evidence" and name.islower():
            assert name in COMMANDS, arguments
        if program == "make" and name:
            assert name in make_targets(), arguments
        if program == "python" and name == "-m" and arguments[1].startswith("stages"):
            assert "STAGE" in arguments[1] or find_spec(arguments[1]), arguments


@each_page
def test_the_commands_in_shell_blocks_parse(page: str) -> None:
    for program, *arguments in shell_lines(page):
        if program == "evidence":
            try:
                make_parser(arguments[0]).parse_args(arguments[1:])
            except (SystemExit, UserError) as error:
                pytest.fail(f"evidence {shlex.join(arguments)}: {error}")


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """Return the params in docs/reference.md."""
    text = (ROOT / "docs/reference.md").read_text()
    return set(re.findall(rf"^\| `((?:{SECTIONS})\.[\w.]+)` \|", text, re.MULTILINE))


@each_page
def test_named_params_exist(page: str, documented: set[str]) -> None:
    sections = {key.rpartition(".")[0] for key in documented}
    params = read_params()["tasks"]
    for span in [*code_spans(page), *map(shlex.join, shell_lines(page))]:
        for task, key in re.findall(rf"tasks\.(\w+)\.((?:{SECTIONS})[\w.]*)", span):
            assert task in {*params, EXAMPLE}, span
            assert key in documented | sections, span
        if re.fullmatch(rf"({SECTIONS})(\.[a-z_]+)+", span) and not span.endswith(
            (".py", ".csv", ".json")
        ):
            assert span in documented | sections, span


def test_the_readme_shows_the_folders_of_the_code() -> None:
    tree = re.search(
        r"^stages/\n(.*?)^data/", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert tree
    packages = {path.parent.name for path in (ROOT / "stages").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/", tree.group(1), re.MULTILINE)) == packages


def test_the_reference_is_what_the_generator_prints() -> None:
    committed = (ROOT / "docs/reference.md").read_text()
    assert committed == reference(), "run python -m stages.tools.reference > docs/reference.md"


def test_a_column_without_a_meaning_is_an_error() -> None:
    from stages.core.params import read_yaml

    tasks = load_tasks(load_params())
    meanings = read_yaml(MEANINGS)["files"]
    del meanings["data/per_class.csv"]["columns"]["baseline_f1"]
    with pytest.raises(UserError, match=r"evidence/image/data/per_class\.csv: baseline_f1"):
        pack_files(tasks, meanings)


def test_placeholders_match_columns() -> None:
    known = ["label", "<method>: loss", "<method>"]
    columns = {"label": "label", "NB-SVM: loss": "<method>: loss", "NB-SVM": "<method>"}
    assert {column: match_column(column, known) for column in columns} == columns
    assert match_column("NB-SVM", ["label"]) == ""


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 256}, ", 1 to 256"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 2**32}, ", 0 to 4,294,967,295"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, ", above 0 and below 1"),
        ({"type": "number", "minimum": 0}, ", at least 0"),
        ({"type": "string", "minLength": 1}, ""),
    ],
)
def test_ranges_are_stated_in_words(schema: dict[str, object], words: str) -> None:
    assert format_range(schema) == words
