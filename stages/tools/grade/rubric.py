"""The rubric of `evidence grade`: a YAML file whose criteria each name a check, its points and a task."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.core.errors import UserError
from stages.core.params import read_yaml, validate
from stages.core.schema import Count, Name, Section
from stages.tools.verify.conditions.claim import Claim, parse_claim

DEFAULT = Path(__file__).with_name("rubric.yaml")
TierName = Literal["hashes", "metrics", "predictions", "retrain"]
Words = Annotated[int, Field(ge=1, le=10_000)]


class Criterion(Section):
    """What is looked for, and its points.

    Attributes:
        name: of the criterion, in the reader's words.
        check: that decides, a key of `CHECKS`.
        points: that it is worth.
        task: in whose evidence to look.
        judge: a question that a person must answer before the points count; None where the check decides.
    """

    name: Name
    check: Name
    points: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    task: Name = ""
    judge: Name | None = None


class NoteCriterion(Criterion):
    """What is looked for in a file that a person writes.

    Attributes:
        file: of the notes, with {task} for the task's name.
    """

    file: Name = "data/review/{task}.md"

    @property
    def path(self) -> str:
        """Return the path of the notes in a repository."""
        return self.file.replace("{task}", self.task)


class Verified(Criterion):
    """`evidence verify` finds that nothing of the task disagrees, up to a tier."""

    tier: TierName = "metrics"


class Figure(Criterion):
    """A figure of the task meets a claim, as committed and recomputed: `verdict == better`."""

    claim: Name

    def parsed(self, source: str = "claim") -> Claim:
        """Return the claim on the task.

        Raises:
            UserError: it has another form; the line begins with `source`.
        """
        return parse_claim(f"{self.task} {self.claim}", source)


class Note(NoteCriterion):
    """A person has written below a heading of the notes.

    Attributes:
        heading: of the second level, as in `## Failures`.
        min_words: of the note.
        min_cases: failure cases that it names by their ids.
    """

    heading: Name
    min_words: Words = 20
    min_cases: Annotated[int, Field(ge=0, le=1000)] = 0


class Experiment(Criterion):
    """Changes were tried with `evidence experiment`, each with what was expected of it."""

    count: Count = 1


class Shapes(NoteCriterion):
    """The notes state the output shapes of the network's layers.

    Attributes:
        heading: of the note.
        share: of the distinct shapes that must be there.
    """

    heading: Name = "Shapes"
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class FailureMode(NoteCriterion):
    """The notes name a cause, a diagnosis or a confusion that the task's failure analysis lists.

    Attributes:
        heading: of the note; None to look below every heading.
    """

    heading: Name | None = None


class Person(Criterion):
    """Nothing is looked for: a person judges."""

    judge: Name


CHECKS: dict[str, type[Criterion]] = {
    "verified": Verified,
    "claim": Figure,
    "note": Note,
    "experiment": Experiment,
    "shapes": Shapes,
    "failure_mode": FailureMode,
    "person": Person,
}


class _File(Section):
    """A rubric as it stands in its file; each criterion is checked against the schema of its check."""

    title: Name
    task: Name | None = None
    tier: TierName = "metrics"
    criteria: Annotated[list[dict[str, Any]], Field(min_length=1)]


class Rubric(Section):
    """A rubric.

    Attributes:
        title: of it.
        tier: the last tier of verify.
        criteria: in their order.
    """

    title: Name
    tier: TierName
    criteria: list[Criterion]

    def tasks(self) -> list[str]:
        """Return the tasks that criteria name, each once."""
        return list(dict.fromkeys(criterion.task for criterion in self.criteria))


def read_rubric(path: Path) -> Rubric:
    """Return the rubric in a file.

    Raises:
        UserError: the file is missing or no YAML, a key or a check is unknown or missing, a value is out
            of range, or two criteria have one name.
    """
    content = read_yaml(path)
    values = content if isinstance(content, dict) else {}
    for key in ("title", "criteria"):
        if key not in values and not values.keys() - _File.model_fields.keys():
            raise UserError(f"{path}: {key} is missing; a rubric has a title and criteria")
    file = validate(_File, content, path)
    criteria = [
        _read_criterion(values, f"{path}: criteria[{place}]", file.task)
        for place, values in enumerate(file.criteria)
    ]
    names = [criterion.name for criterion in criteria]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"{path}: two criteria are called {name!r}; give each a name of its own"
            )
    return Rubric(title=file.title, tier=file.tier, criteria=criteria)


def _read_criterion(values: dict[str, Any], source: str, task: str | None) -> Criterion:
    """Return a criterion, checked against the schema of its check.

    Args:
        values: as in the file.
        source: file and key, for messages.
        task: of criteria that name none.

    Raises:
        UserError: a key or the check is unknown or missing, or a value is out of range.
    """
    check = values.get("check")
    if not isinstance(check, str) or check not in CHECKS:
        nearest = difflib.get_close_matches(str(check), CHECKS, n=1, cutoff=0)
        hint = f"given {check!r}; the nearest is {nearest[0]!r}, " if check is not None else ""
        raise UserError(f"{source}.check: {hint}must be one of {', '.join(CHECKS)}")
    schema = CHECKS[check]
    required = {key for key, entry in schema.model_fields.items() if entry.is_required()}
    missing = sorted(required - values.keys())
    if missing and not values.keys() - schema.model_fields.keys():
        raise UserError(f"{source}.{missing[0]}: this key is missing; the check {check} needs it")
    criterion = validate(schema, {**({"task": task} if task else {}), **values}, Path(source))
    if not criterion.task:
        raise UserError(
            f"{source}.task: this key is missing; name the task here, or once above the criteria"
        )
    if isinstance(criterion, Figure):
        criterion.parsed(f"{source}.claim")
    return criterion
