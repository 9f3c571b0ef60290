"""Checklists, the model card and the facts about a data set: answered from evidence, by people, or open.

The items and the templates of their answers are in forms.yaml. People answer in
data/review/<task>-answers.md, below a heading for each item.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.params import read_yaml
from stages.report.document import Document, Facts, Headline, Section
from stages.report.formatting import percent
from stages.report.review import parse_notes
from stages.tools.archive.members import REPOSITORY
from stages.tools.archive.revision import Revision
from stages.tools.archive.task_evidence import TaskEvidence

if TYPE_CHECKING:
    from jinja2 import Environment

ITEMS = Path(__file__).with_name("forms.yaml")
OPEN = "OPEN, to be answered by a person"
_NO_EVIDENCE = "the evidence does not say"


@dataclass(frozen=True)
class Item:
    """An item of a form.

    Attributes:
        heading: under which people answer it: `REFORMS 1a`.
        id: its number or name in the form.
        section: of the form.
        item: what it asks for.
        answer: from evidence, "" if evidence does not say.
        person: what only people know, "" if nothing.
        note: what a person has answered, "" if nothing.
    """

    heading: str
    id: str
    section: str
    item: str
    answer: str
    person: str
    note: str

    @property
    def is_open(self) -> bool:
        """Return whether a person has still to answer it, at least in part."""
        return not self.note and bool(self.person or not self.answer)

    def title(self) -> str:
        """Return what it asks for, after its number if it has one."""
        return f"{self.id}: {self.item}" if self.id[0].isdigit() else self.item

    def text(self) -> str:
        """Return what is known, and what is not."""
        if self.is_open:
            missing = f"{OPEN} below ## {self.heading}: {self.person or _NO_EVIDENCE}"
            return " ".join(filter(None, [self.answer, missing]))
        return " ".join(filter(None, [self.answer, self.note and f"A person adds: {self.note}"]))


@dataclass(frozen=True)
class Form:
    """A checklist or a card of one task.

    Attributes:
        name: `REFORMS`, as the headings of answers begin.
        file: in which it is written.
        title: of the document.
        about: where its items come from.
        items: in their order.
    """

    name: str
    file: str
    title: str
    about: str
    items: Sequence[Item]

    def open_items(self) -> list[Item]:
        """Return the items that a person has still to answer."""
        return [item for item in self.items if item.is_open]

    def document(self, task: str, further: Sequence[Section] = ()) -> Document:
        """Return the form as a document, with further sections at its end."""
        names = list(dict.fromkeys(item.section for item in self.items))
        sections = [
            Section(
                name,
                name,
                [
                    Facts(
                        [(item.title(), item.text()) for item in self.items if item.section == name]
                    )
                ],
            )
            for name in names
        ]
        count, total = len(self.open_items()), len(self.items)
        state = f"{count} of {total} items are open" if count else f"All {total} items are answered"
        summary = f"{self.about} People answer open items in {answers_path(task)}."
        return Document(f"{self.title}: {task}", Headline(state), summary, [*sections, *further])


def answers_path(task: str) -> str:
    """Return the file in which people answer for a task."""
    return f"data/review/{task}-answers.md"


def fill_forms(revision: Revision, task: TaskEvidence, facts: Mapping[str, Any]) -> dict[str, Form]:
    """Return the forms of a task by name, filled in as far as evidence and people have answered.

    Args:
        revision: the commit.
        task: a task of it.
        facts: further values for the templates.

    Raises:
        UserError: the file of answers has a heading that no item has.
    """
    environment, context = _environment(), {**_context(revision, task), **facts}
    path = answers_path(task.name)
    notes = parse_notes(revision.text(path))
    forms = {}
    for name, form in read_yaml(ITEMS).items():
        items = [
            Item(
                heading=(heading := f"{name} {entry['id']}"),
                id=entry["id"],
                section=entry["section"],
                item=entry["item"],
                answer=_render(environment, entry.get("answer", ""), context),
                person=entry.get("person", ""),
                note=notes.pop(heading, ""),
            )
            for entry in form["items"]
        ]
        forms[name] = Form(name, form["file"], form["title"], form["about"], items)
    _check_headings(path, notes, forms.values())
    return forms


def _check_headings(path: str, notes: Mapping[str, str], forms: Any) -> None:
    headings = [item.heading for form in forms for item in form.items]
    for heading in notes:
        nearest = difflib.get_close_matches(heading, headings, n=1, cutoff=0)[0]
        raise UserError(
            f"{path}: no form has the item {heading!r}; the nearest heading is {nearest!r}"
        )


def _environment() -> "Environment":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 (plain text; rendering escapes it)
    environment.filters |= {"percent": percent, "compact": _compact}
    return environment


def _compact(value: Mapping[str, Any]) -> str:
    """Return settings in one line, without those that are not set."""
    settings = {key: item for key, item in value.items() if item is not None}
    return json.dumps(settings, ensure_ascii=False).replace('"', "")[1:-1]


def _render(environment: "Environment", template: str, context: Mapping[str, Any]) -> str:
    """Return an answer on one line, "" if it needs evidence that there is not."""
    from jinja2 import UndefinedError

    try:
        return " ".join(environment.from_string(template).render(context).split())
    except (AttributeError, TypeError, UndefinedError):
        return ""


def _context(revision: Revision, task: TaskEvidence) -> dict[str, Any]:
    folder = f"evidence/{task.name}"
    experiments = f"{folder}/experiments.csv"
    scores = task.metrics.get("current")
    context = {
        "task": task.name,
        "kind": task.kind,
        "params": task.params,
        "record": task.record,
        "note": task.note,
        "metrics": task.metrics,
        "baseline": task.baseline,
        "checks": task.checks,
        "passed_checks": sum(bool(check.get("passed")) for check in task.checks),
        "checkpoints": task.checkpoints,
        "machine": task.machine,
        "commit": revision.commit,
        "date": revision.time.date().isoformat(),
        "files": {path: f"{REPOSITORY}{path}" for path in revision.files},
        "pack_page": f"{folder}/README.md",
        "class_table": f"{folder}/data/per_class.csv",
        "experiments": f"{REPOSITORY}{experiments}" if experiments in revision.files else "",
    }
    if isinstance(scores, dict):
        context["scores"] = [
            f"{key.replace('_', ' ')} {value:g}"
            for key, value in scores.items()
            if isinstance(value, int | float) and not key.endswith(("_low", "_high", "_chance"))
        ]
    return context
