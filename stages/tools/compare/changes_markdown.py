"""What changes between two revisions as Markdown for a pull request: short, with the details folded."""

import html
from collections.abc import Iterable, Iterator, Sequence

from stages.core.errors import printable
from stages.tools.compare.changed_samples import Sample
from stages.tools.compare.changes import Changes, TaskChanges, unchanged_parts

_MOST_CHARACTERS = 30_000  # a comment on GitHub holds 65,536
_SAMPLES = (10, 5, 2, 0)  # of each kind, as many as fit
_MOST_ROWS = 15  # of a table
_TEXT_LENGTH = 160  # characters of a text sample


def render_changes_markdown(changes: Changes) -> str:
    """Return the Markdown, with as many samples as a comment has room for."""
    for samples in _SAMPLES:
        text = "\n\n".join(_parts(changes, samples)) + "\n"
        if len(text) <= _MOST_CHARACTERS:
            return text
    return text[:_MOST_CHARACTERS].rpartition("\n")[0] + "\n\n...\n"


def _parts(changes: Changes, samples: int) -> Iterator[str]:
    from stages.report.formatting import markdown_table
    from stages.report.rendering import escape_markdown

    before, after = (escape_markdown(item.name) for item in (changes.before, changes.after))
    yield f"## What changes from {before} to {after}"
    header = ("task", "verdict", "in words", "fixed", "broken")
    yield markdown_table(header, (_summary(task) for task in changes.tasks), (3, 4))
    commits = f"{changes.before.commit[:12]} against {changes.after.commit[:12]}"
    code = (
        f"{len(changes.code)} files of code differ" if changes.code else "no file of code differs"
    )
    only = [
        f"only in {name}: {escape_markdown(', '.join(tasks))}"
        for name, tasks in ((before, changes.only_before), (after, changes.only_after))
        if tasks
    ]
    yield f"{'; '.join([commits, *only, code])}. Figures are as committed."
    for task in changes.tasks:
        yield from _task(task, (before, after), samples)
    if changes.code:
        rows = [[f"`{_plain_span(path)}`"] for path in changes.code]
        yield _folded("Code that differs", _table(("file",), rows))


def _summary(task: TaskChanges) -> tuple[str, ...]:
    from stages.report.rendering import TONES, escape_markdown

    name, sentence = escape_markdown(task.task), escape_markdown(task.sentence)
    verdict = (
        f"{escape_markdown(TONES[task.verdict].sign)} **{task.verdict}**" if task.verdict else ""
    )
    has_samples = task.verdict or task.fixed or task.broken
    counts = (str(len(task.fixed)), str(len(task.broken))) if has_samples else ("", "")
    return name, verdict, sentence, *counts


def _task(task: TaskChanges, names: tuple[str, str], samples: int) -> Iterator[str]:
    """Yield the folded details of a task."""
    parts = []
    for title, differences in (("param", task.params), ("of the data", task.data)):
        if differences:
            parts.append(_table((title, *names), _escaped(differences)))
    same = " and ".join(unchanged_parts(task))
    parts += [f"The same in both: {same}."] if same else []
    for kind, entries in (("Broken", task.broken), ("Fixed", task.fixed)):
        if entries and samples:
            parts.append(_sample_table(kind, entries, samples))
    if task.classes:
        parts.append(_table(("class", "fixed", "broken"), _escaped(task.classes), (1, 2)))
    if task.experiments:
        header = ("experiment tried", "why", "before", "after", "verdict", "kept")
        parts.append(_table(header, _escaped(task.experiments)))
    parts.append(_table(("metric", *names, "change"), _escaped(task.metrics), (1, 2, 3)))
    yield _folded(f"{task.task}: details", "\n\n".join(parts))


def _escaped(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    from stages.report.rendering import escape_markdown

    return [[escape_markdown(cell) for cell in row] for row in rows]


def _sample_table(kind: str, samples: Sequence[Sample], limit: int) -> str:
    from stages.report.rendering import escape_markdown

    count = len(samples)
    rest = f", the first {limit}" if count > limit else ""
    texts = any(sample.words for sample in samples)
    rows = [
        [
            *map(
                escape_markdown,
                (sample.id, sample.label, f"{sample.before} → {sample.after}", sample.details),
            ),
            *([_quote(sample)] if texts else []),
        ]
        for sample in samples[:limit]
    ]
    header = ("sample", "true class", "prediction", "details", *(["text"] if texts else []))
    return f"{kind}: {count}{rest}\n\n{_table(header, rows)}"


def _quote(sample: Sample) -> str:
    """Return the start of a text, with the words in bold that weigh most for the wrong class."""
    from stages.report.rendering import escape_markdown, highlight_class

    words, length = [], 0
    for word, weight in sample.words:
        length += len(word) + 1
        if length > _TEXT_LENGTH:
            words.append("...")
            break
        text = escape_markdown(word)
        words.append(f"**{text}**" if highlight_class(weight) == "for-2" and text else text)
    return f"“{' '.join(words)}”"


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()
) -> str:
    """Return a table of escaped cells, of many rows the first ones."""
    from stages.report.formatting import markdown_table

    text = markdown_table(header, rows[:_MOST_ROWS], numeric)
    rest = len(rows) - _MOST_ROWS
    return f"{text}\n\nand {rest} more" if rest > 0 else text


def _plain_span(path: str) -> str:
    """Return a path as a span of code can hold it."""
    return printable(path).replace("`", "")


def _folded(summary: str, text: str) -> str:
    return f"<details><summary>{html.escape(printable(summary))}</summary>\n\n{text}\n\n</details>"
