"""What disagrees in a revision: the claim, what was found instead, what that means, what to do."""

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """What kind of disagreement it is: its meaning, and what a reader can do about it."""

    FILE = (
        "the file was changed after the stage that writes it had run",
        "run `dvc repro` and commit what it writes",
    )
    INPUT = (
        "the stage ran on another version of a file than the one in git",
        "run `dvc repro` and commit its results",
    )
    LOCK = (
        "dvc.yaml describes another pipeline than the one that was run",
        "run `dvc repro` and commit dvc.yaml together with dvc.lock",
    )
    PARAMS = (
        "the result was computed with other params than those in git",
        "run `dvc repro` and commit its results",
    )
    COMMAND = (
        "the stage does not run the module of this pipeline",
        "restore dvc.yaml, or explain why another command is needed",
    )
    MISSING = (
        "a part of the evidence is not there",
        "run `dvc repro` and commit everything that it writes",
    )
    SURPLUS = (
        "no stage writes it, so nothing supports what it says",
        "delete it, or add the task that makes it",
    )
    FIGURE = (
        "the figure does not follow from the predictions in git",
        "run `dvc repro`, and compare the predictions of both commits",
    )
    PAGE = (
        "the page does not say what its data say",
        "run `dvc repro`, which renders it again",
    )
    SAMPLES = (
        "the samples are not those that the raw data and params give",
        "compare the raw data with their note, then run `dvc repro`",
    )
    SPLIT = (
        "test samples are not independent of training samples",
        "split by group, and train again",
    )
    RERUN = (
        "run again on the same inputs, the stage gives another result",
        "run `dvc repro --force` there and here, and compare the outputs",
    )
    PREDICTIONS = (
        "the stored weights give other predictions than those in git",
        "run `dvc repro`, and commit predictions and weights of one run",
    )

    @property
    def meaning(self) -> str:
        """Return what such a disagreement means."""
        return str(self.value[0])

    @property
    def action(self) -> str:
        """Return what a reader can do about it."""
        return str(self.value[1])


@dataclass(frozen=True)
class Disagreement:
    """One claim of a revision that does not hold.

    Attributes:
        cause: what kind it is.
        line: the disagreement in one line.
        path: the file that makes the claim, "" if it is no single file.
        claim: the value that it states, "" where the line says it.
        observed: the value that was computed or read instead.
    """

    cause: Cause
    line: str
    path: str = ""
    claim: str = ""
    observed: str = ""

    @property
    def difference(self) -> str:
        """Return the difference of two numbers, "" for anything else."""
        try:
            return f"{float(self.claim) - float(self.observed):+.6g}"
        except ValueError:
            return ""

    def details(self) -> dict[str, str]:
        """Return its parts by name, without those that are empty."""
        parts = {
            "claim": self.claim,
            "found": self.observed,
            "difference": self.difference,
            "file": self.path,
            "it means": self.cause.meaning,
            "to do": self.cause.action,
        }
        return {name: text for name, text in parts.items() if text}
