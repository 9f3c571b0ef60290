"""README.md fits a screen or two, and its results are those of the packs."""

from pathlib import Path

import pytest
from support.project import ROOT

from stages.core.errors import UserError
from stages.tools.readme import updated_readme


def test_the_readme_is_short_and_its_results_are_those_of_the_packs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text()
    assert updated_readme(text) == text, "run python -m stages.tools.readme"
    assert text.count("\n") <= 120


def test_a_readme_without_a_place_for_the_results_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="<!-- results -->"):
        updated_readme("# Evidence First\n")


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("evidence/*/README.md")), ids=lambda page: page.parent.name
)
def test_the_markdown_of_a_pack_is_short(page: Path) -> None:
    assert page.read_text().count("\n") <= 150
