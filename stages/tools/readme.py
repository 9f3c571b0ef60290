"""Write the table of results in README.md, from the packs: `python -m stages.tools.readme`."""

import re
from pathlib import Path

from stages.core.errors import UserError, exit_on_user_error
from stages.core.files import read_json, write
from stages.kinds.params import load_tasks
from stages.report.formatting import markdown_table
from stages.report.rendering import TONES, escape_markdown

README = Path("README.md")
_TABLE = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- end of results -->)", re.DOTALL)
_HEADER = ("task", "verdict", "gain", "fails on", "where it is worse", "next step")


def results_table() -> str:
    """Return a row for each task of params.yaml, with links to its page.

    Raises:
        UserError: a task has no record.
    """
    rows = []
    for name, task in load_tasks().items():
        record = read_json(task.evidence / "record.json")
        worst = record["worst"].partition(" (")[0]  # without its interval
        texts = (record["headline"], worst, record["next_step"]["summary"])
        headline, worst, step = map(escape_markdown, texts)
        rows.append(
            (
                f"[{name}]({task.evidence.as_posix()}/README.md)",
                f"{TONES[record['verdict']].sign} {record['verdict']}",
                headline,
                f"{record['failure_case_count']} of {record['current_result']['n']}",
                worst,
                step,
            )
        )
    return markdown_table(_HEADER, rows)


def updated_readme(text: str) -> str:
    """Return README.md with the table as the packs give it.

    Raises:
        UserError: README.md has no place for it.
    """
    table = results_table()
    updated, count = _TABLE.subn(lambda _: f"{table}\n", text)
    if count != 1:
        raise UserError(
            f"{README}: must have one line <!-- results --> and one <!-- end of results -->"
        )
    return updated


def main() -> None:
    """Write the table."""
    with exit_on_user_error("readme"):
        write(README, updated_readme(README.read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    main()
