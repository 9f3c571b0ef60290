"""The checks that the criteria of a rubric name: what a commit shows, and what only a person can judge."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from stages.core.errors import UserError, printable
from stages.tools.grade.rows import Observation, Row, State, make_row, not_shown
from stages.tools.grade.rubric import (
    Criterion,
    Experiment,
    FailureMode,
    Figure,
    Note,
    Person,
    Rubric,
    Shapes,
    Verified,
)
from stages.tools.grade.submission import Submission
from stages.tools.verify.conditions.claim import check_claims
from stages.tools.verify.conditions.condition import Outcome
from stages.tools.verify.machines import Machines
from stages.tools.verify.report import TIERS, Report, list_names
from stages.tools.verify.verdicts import RERUN, STORED_WEIGHTS, Finding, Verdict, summarise

_QUOTED = 300  # characters of a note
_MOST_CASES = 5000  # of which ids are looked for
_DIMENSION = r"(?:\d+|[A-Za-z]+)"
# (32, 8, 16, 16), [N, 8, 16, 16], batch x 8 x 16 x 16; also with the sign of multiplication
_SHAPE = re.compile(rf"(?<!\w){_DIMENSION}(?: ?[,x\u00d7] ?\d+)+(?!\w)")


def grade(rubric: Rubric, submission: Submission) -> list[Row]:
    """Return a row for each criterion of a rubric."""
    return [_grade(criterion, submission) for criterion in rubric.criteria]


def _grade(criterion: Criterion, submission: Submission) -> Row:
    try:
        return make_row(criterion, _FUNCTIONS[criterion.check](criterion, submission))
    except UserError as error:
        return make_row(criterion, not_shown(str(error)))


def _check_verified(criterion: Verified, submission: Submission) -> Observation:
    report = submission.report
    if report is None:
        return not_shown(f"not verified: {submission.reason}")
    tiers = TIERS[: 1 + TIERS.index(criterion.tier)]
    findings = [
        (tier.name, finding)
        for tier in report.tiers
        if tier.name in tiers
        for finding in tier.findings
        if finding.stage.rpartition("@")[2] == criterion.task
    ]
    for tier, finding in findings:
        if finding.verdict is Verdict.OUTSIDE:
            return not_shown(f"{tier}, {finding.stage}: {finding.reason}")
    names = " and ".join(tier.name for tier in report.tiers if tier.name in tiers)
    if not findings:
        return not_shown(f"the pipeline has no stage of {criterion.task}")
    if criterion.tier not in [tier.name for tier in report.tiers]:
        return Observation(
            State.OPEN, f"nothing disagrees at {names}", _why_not_run(criterion, report)
        )
    return _summarise_stages(names, [finding for _, finding in findings], report)


def _why_not_run(criterion: Verified, report: Report) -> str:
    """Return why the tier of a criterion has not run, and what would run it."""
    if TIERS.index(report.requested) < TIERS.index(criterion.tier):
        return f"Not run: --tier {criterion.tier} runs it."
    if report.code:
        return f"Not run: read its code ({_code(report)}), then give --yes."
    return f"Not run: {'; '.join(report.notes) or 'this repository has no such tier'}."


def _code(report: Report) -> str:
    return f"{len(report.code)} files differ: {list_names(item.path for item in report.code)}"


def _summarise_stages(names: str, findings: Sequence[Finding], report: Report) -> Observation:
    """Return what the tiers that ran say of a task's stages, none of which disagrees."""
    stages: dict[str, list[Finding]] = {}
    for finding in findings:
        stages.setdefault(finding.stage, []).append(finding)
    results = [summarise(of_stage) for of_stage in stages.values()]
    verdicts = [str(result.verdict) for result in results]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    evidence = f"{len(results)} stages at {names}: {counts}"
    unchecked = [
        result
        for result in results
        if result.verdict is Verdict.UNCHECKED and result.reason != STORED_WEIGHTS
    ]
    if unchecked:
        stage, reason = unchecked[0].stage, unchecked[0].reason
        return Observation(State.OPEN, evidence, f"Not checked, {stage}: {reason}.")
    if report.code and any(result.verdict in RERUN for result in results):
        return Observation(State.OPEN, evidence, f"It ran its own code; read it ({_code(report)}).")
    return Observation(State.MET, evidence)


def _check_claim(criterion: Figure, submission: Submission) -> Observation:
    report = submission.report or Report("", "", TIERS[0], Machines({}))
    [condition] = check_claims([criterion.parsed()], submission.root, report)
    evidence = f"{criterion.claim}: {condition.reason}"
    if submission.is_unchanged(f"evidence/{criterion.task}/data/metrics.json"):
        evidence += "; the metrics are those that came with the project"
    if condition.outcome is Outcome.HOLDS:
        return Observation(State.MET, evidence)
    if condition.outcome is Outcome.COMMITTED:
        reason = submission.reason or "--tier metrics recomputes it"
        return Observation(State.OPEN, evidence, f"Only as committed, not recomputed: {reason}.")
    return not_shown(evidence)


def _check_note(criterion: Note, submission: Submission) -> Observation:
    note = _read_note(criterion, submission)
    words = len(note.split())
    evidence = f"{words} words: {_quote(note)}"
    if words < criterion.min_words:
        return not_shown(f"{evidence} (at least {criterion.min_words} words)")
    if not criterion.min_cases:
        return Observation(State.MET, evidence, note=note)
    cases = submission.table(f"evidence/{criterion.task}/data/failure_cases.csv")[:_MOST_CASES]
    ids = [row["id"] for row in cases if row.get("id")]
    named = [name for name in ids if _mentions(note, name)]
    evidence = f"names {len(named)} of {len(ids)} failure cases; {evidence}"
    if len(named) < criterion.min_cases:
        return not_shown(f"{evidence} (at least {criterion.min_cases} cases, by id)")
    return Observation(State.MET, evidence, note=note)


def _check_experiment(criterion: Experiment, submission: Submission) -> Observation:
    rows = submission.experiments(criterion.task)
    tried = [
        row
        for row in rows
        if row.get("change")
        and row.get("why")
        and row.get("verdict", "").partition(":")[0] not in {"", "failed"}
    ]
    if len(tried) < criterion.count:
        failed = f", {len(rows) - len(tried)} that failed or say not why" if rows != tried else ""
        return not_shown(
            f"evidence/{criterion.task}/experiments.csv has {len(tried)} of the learner's own{failed} "
            f"(at least {criterion.count})"
        )
    row = tried[-1]
    change, verdict, reason = (_short(row[key]) for key in ("change", "verdict", "why"))
    results = f"{_short(row.get('before', ''))} to {_short(row.get('after', ''))}"
    evidence = (
        f"{len(tried)} tried; the last: {change}: {verdict} ({results}); why: {_quote(reason)}"
    )
    return Observation(State.MET, evidence, note=row["why"])


def _check_shapes(criterion: Shapes, submission: Submission) -> Observation:
    path = f"evidence/{criterion.task}/data/model_summary.csv"
    layers = submission.table(path)
    shapes = dict.fromkeys(
        numbers
        for row in layers
        if len(numbers := tuple(re.findall(r"\d+", row.get("output_shape", "")))) > 1
    )
    if not shapes:
        return not_shown(f"{path} is missing or has no shapes")
    note = _read_note(criterion, submission)
    stated = {_dimensions(match[0]) for match in _SHAPE.finditer(note)}
    # The size of a batch may stand as a letter or a word.
    missing = [shape for shape in shapes if not {shape, ("", *shape[1:])} & stated]
    count = len(shapes) - len(missing)
    evidence = f"{count} of {len(shapes)} shapes of the network: {_quote(note)}"
    if count < criterion.share * len(shapes):
        listed = list_names(f"({', '.join(shape)})" for shape in missing)
        return not_shown(f"{evidence} (missing: {listed})")
    return Observation(State.MET, evidence, note=note)


def _dimensions(text: str) -> tuple[str, ...]:
    """Return the dimensions of a shape in words; a first one that is no number is ""."""
    first, *rest = re.findall(rf"\d+|^{_DIMENSION}", text)
    return (first if first.isdigit() else "", *rest)


def _check_failure_mode(criterion: FailureMode, submission: Submission) -> Observation:
    modes = _failure_modes(criterion.task, submission)
    if criterion.heading:
        note = _read_note(criterion, submission)
    else:
        notes = submission.notes(criterion.path)
        note = " ".join(filter(None, notes.values()))
    if not note:
        return not_shown(f"{criterion.path} has no notes of its own")
    named = [mode for mode in modes if _mentions(_plain(note), _plain(mode))]
    if named:
        return Observation(State.MET, f"names {list_names(named)}", note=note)
    evidence = (
        f"names none of those that the analysis lists ({list_names(modes) or 'it lists none'})"
    )
    question = "Does it name a failure mode in other words?"
    return Observation(State.OPEN, f"{evidence}: {_quote(note)}", question, note)


def _failure_modes(task: str, submission: Submission) -> list[str]:
    """Return the causes and buckets of a task's failure cases, and the problems of its training."""
    cases = submission.table(f"evidence/{task}/data/failure_cases.csv")
    diagnostics = submission.json(f"evidence/{task}/data/diagnostics.json")
    names = [row.get(column, "") for column in ("cause", "bucket") for row in cases]
    if isinstance(diagnostics, list):
        names += [str(item.get("name", "")) for item in diagnostics if isinstance(item, dict)]
    return list(dict.fromkeys(filter(None, names)))[:_MOST_CASES]


def _check_person(_criterion: Person, _submission: Submission) -> Observation:
    return Observation(State.OPEN, "")


def _read_note(criterion: Note | Shapes | FailureMode, submission: Submission) -> str:
    """Return what a learner has written below a criterion's heading.

    Raises:
        UserError: the commit has no such file or heading, or nothing is below it.
    """
    notes, path = submission.notes(criterion.path), criterion.path
    headings = {head.casefold(): head for head in notes}
    head = headings.get(str(criterion.heading).casefold())
    if head is None:
        listed = list_names(map(_short, notes)) or "none"
        raise UserError(f"{path} has no heading '## {criterion.heading}' (it has: {listed})")
    if not notes[head]:
        raise UserError(f"{path}: nothing of the learner's stands below '## {criterion.heading}'")
    return notes[head]


def _plain(text: str) -> str:
    return " ".join(text.replace("->", "→").casefold().split())


def _mentions(text: str, name: str) -> bool:
    """Return whether a text has a name as words of its own, not within longer ones."""
    return name in text and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _short(text: str) -> str:
    line = printable(text)
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}..."


def _quote(text: str) -> str:
    return f'"{_short(text)}"'


_FUNCTIONS: dict[str, Callable[[Any, Submission], Observation]] = {
    "verified": _check_verified,
    "claim": _check_claim,
    "note": _check_note,
    "experiment": _check_experiment,
    "shapes": _check_shapes,
    "failure_mode": _check_failure_mode,
    "person": _check_person,
}
