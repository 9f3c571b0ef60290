"""The documentation: its commands are such that the command line accepts them, its links lead somewhere."""

import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
from support.project import ROOT

from stages.tools.cli import COMMANDS, make_parser
from stages.tools.readme import updated_readme

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def commands(page: Path) -> list[list[str]]:
    """Return the arguments of each line `evidence ...` of the blocks of shell commands."""
    lines = []
    for block in _BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").split("\n"):
            words = shlex.split(line, comments=True)
            if words and words[0] == "evidence":
                lines.append(words[1:])
    return lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_line_accepts_every_command(page: Path) -> None:
    for name, *arguments in commands(page):
        if name.startswith("-"):
            continue
        assert name in COMMANDS, name
        end = next((n for n, word in enumerate(arguments) if word in {"|", ">", "&&"}), None)
        make_parser(name).parse_args(arguments[:end])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert heading in map(slug, headings), link


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_readme_is_short_and_its_results_are_those_of_the_packs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text()
    assert updated_readme(text) == text, "run python -m stages.tools.readme"
    assert text.count("\n") <= 120


@pytest.mark.parametrize("page", sorted(ROOT.glob("evidence/*/README.md")), ids=str)
def test_the_markdown_of_a_pack_is_short(page: Path) -> None:
    assert page.read_text().count("\n") <= 150
