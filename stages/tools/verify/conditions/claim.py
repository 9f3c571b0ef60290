"""Claims on the figures of a result: `image accuracy >= 0.97`, held against what was computed again."""

import difflib
import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.tolerance import flatten
from stages.tools.verify.conditions.condition import Condition, Outcome
from stages.tools.verify.verdicts import RERUN, Verdict
from stages.tools.verify.verdicts_of_reruns import Committed

if TYPE_CHECKING:
    from stages.tools.verify.report import Report

FORM = "TASK METRIC OPERATOR VALUE, with one of >= <= > < ==: 'image accuracy >= 0.97'"
_CLAIM = re.compile(r"([\w.-]+)\s+([\w.-]+)\s*(>=|<=|==|>|<)\s*([^\s=<>](?:.*\S)?)")
_OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
# From the cheapest tier to the most expensive: from what a confirmed figure was computed again.
_SOURCES = {
    "metrics": "recomputed from the predictions in git",
    "predictions": "recomputed from the stored weights",
    "retrain": "recomputed by training again",
}
_MAX_LENGTH = 100  # characters of a figure that is a word
_RERUN_TIERS = ("predictions", "retrain")
_ON_WHICH_METRICS_REST = ("prepare", "check", "baseline", "train", "evaluate")
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Claim:
    """A statement on a figure of a task.

    Attributes:
        task: by name.
        metric: a key of `current` in metrics.json, or of its `improvement`: accuracy, gain, verdict.
        operator: one of >= <= > < ==.
        value: with which the figure is compared; text only with ==.
        digits: after the point of the value, to which a figure is rounded before ==.
    """

    task: str
    metric: str
    operator: str
    value: float | str
    digits: int = 0

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:.{self.digits}f}"
        return f"{self.task} {self.metric} {self.operator} {value}"

    def is_met(self, figure: float | str) -> bool:
        """Return whether a figure meets the claim; a text meets only an equal text."""
        if isinstance(self.value, str) or isinstance(figure, str):
            return self.operator == "==" and figure == self.value
        if self.operator == "==":
            return round(figure, self.digits) == self.value
        return bool(_OPERATORS[self.operator](figure, self.value))


def parse_claim(text: str, source: str = "--claim") -> Claim:
    """Return the claim that a text makes.

    Args:
        text: `image accuracy >= 0.97`.
        source: the option, or the file and key, for messages.

    Raises:
        UserError: it has another form, or a number that is not finite.
    """
    match = _CLAIM.fullmatch(text.strip())
    if match is None:
        raise UserError(f"{source}: given {text!r}; must be {FORM}")
    task, metric, sign, value = match.groups()
    try:
        number = float(value)
    except ValueError:
        if sign != "==":
            raise UserError(
                f"{source}: given {text!r}; {value!r} is no number, and words can only be compared with =="
            ) from None
        return Claim(task, metric, sign, value)
    if not math.isfinite(number):
        raise UserError(f"{source}: given {text!r}; the value must be finite")
    mantissa, _, exponent = value.lower().partition("e")
    digits = max(0, len(mantissa.partition(".")[2]) - int(exponent or 0))
    return Claim(task, metric, sign, number, digits)


def figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that claims can name, by key.

    Args:
        metrics: the content of metrics.json.

    Raises:
        LookupError, TypeError, AttributeError: it is of another form.
    """
    current = dict(metrics["current"])
    improvement = current.pop("improvement", {})
    values = {**flatten(current), **flatten(dict(improvement))}
    return {key: value for key, value in values.items() if _is_figure(value)}


def _is_figure(value: Any) -> bool:
    return (isinstance(value, str) and len(value) <= _MAX_LENGTH) or is_number(value)


def is_number(value: Any) -> bool:
    """Return whether a value of a stranger's file is a finite number, and no truth value."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_claims(claims: Sequence[Claim], root: Path, report: "Report") -> list[Condition]:
    """Return whether claims hold for the committed figures and for those computed again.

    Args:
        claims: to check.
        root: the clone, in which the last tier has left its files.
        report: of the tiers that ran.
    """
    return [_check(claim, root, report) for claim in claims]


def _check(claim: Claim, root: Path, report: "Report") -> Condition:
    try:
        committed = _committed_figures(claim, root)
    except UserError as error:
        return Condition(f"claim: {claim}", Outcome.UNCHECKED, str(error))
    return Condition(f"claim: {claim}", *_judge(claim, committed, root, report))


def _committed_figures(claim: Claim, root: Path) -> dict[str, Any]:
    """Return the committed figures of a claim's task, which have the claim's metric.

    Raises:
        UserError: there is no such task or metric, or it cannot be compared with the claim's value.
    """
    path = _metrics_path(claim.task)
    try:
        metrics = figures(json.loads(Committed(root).read(path)))
    except UserError:
        raise UserError(_unknown_task(claim, root)) from None
    except _DAMAGED as error:
        raise UserError(f"{path} is not as the stages write it ({error!r})") from None
    if claim.metric not in metrics:
        raise UserError(unknown_metric(claim, metrics))
    if isinstance(metrics[claim.metric], str) != isinstance(claim.value, str):
        raise UserError(
            f"{claim.metric} is {metrics[claim.metric]!r}, which cannot be compared with {claim.value!r}"
        )
    return metrics


def _judge(
    claim: Claim, committed: Mapping[str, Any], root: Path, report: "Report"
) -> tuple[Outcome, str]:
    """Return whether a claim holds for the committed figures and those computed again, and the reason."""
    text = _describe(claim, committed, _confidence(root, claim.task))
    if not claim.is_met(committed[claim.metric]):
        return Outcome.FAILS, f"{text}, as committed"
    rerun = _rerun_figures(claim.task, root, report)
    again = rerun.get(claim.metric, committed[claim.metric])
    if not claim.is_met(again):
        return Outcome.FAILS, f"{text}, as committed; run again {_format(again)}"
    disagreement = _disagreement(claim.task, report)
    if disagreement:
        return Outcome.FAILS, f"{text}, but {disagreement} is outside"
    source = _source(claim.task, report)
    if not source:
        return Outcome.COMMITTED, text
    if again != committed[claim.metric]:
        source += f" ({_format(again)})"
    return Outcome.HOLDS, f"{text}; {source}"


def _metrics_path(task: str) -> str:
    return f"evidence/{task}/data/metrics.json"


def _unknown_task(claim: Claim, root: Path) -> str:
    packs = sorted(path.parent.parent.name for path in root.glob("evidence/*/data/metrics.json"))
    nearest = difflib.get_close_matches(claim.task, packs, n=1, cutoff=0)
    hint = f"; the nearest known task is {nearest[0]!r}" if nearest else ""
    return f"the revision has no evidence of a task {claim.task!r}{hint}"


def unknown_metric(claim: Claim, metrics: Mapping[str, Any]) -> str:
    """Return in words that a task has no such metric, and which is the nearest that it has."""
    nearest = difflib.get_close_matches(claim.metric, metrics, n=1, cutoff=0)
    hint = f"; the nearest known one is {nearest[0]!r}" if nearest else ""
    return f"task {claim.task} has no metric {claim.metric!r}{hint}"


def _describe(claim: Claim, metrics: Mapping[str, Any], confidence: str) -> str:
    """Return a figure in words, with its interval where there is one."""
    text = _format(metrics[claim.metric])
    ends = [metrics.get(f"{claim.metric}_{end}") for end in ("low", "high")]
    return text + interval_words(claim, ends, confidence)


def interval_words(claim: Claim, ends: Sequence[Any], confidence: str) -> str:
    """Return an interval in words, and whether it holds values that do not meet a claim.

    Args:
        claim: on the figure.
        ends: the lowest and the highest value; no numbers where there is no interval.
        confidence: "95% ", or "" where it is unknown.
    """
    low, high = ends
    if not all(map(is_number, ends)):
        return ""
    words = f"{confidence}interval {low:g} to {high:g}"
    if claim.operator != "==" and not (claim.is_met(low) and claim.is_met(high)):
        words += ", which holds values that do not meet the claim"
    return f" ({words})"


def _format(figure: Any) -> str:
    return figure if isinstance(figure, str) else f"{figure:g}"


def _confidence(root: Path, task: str) -> str:
    """Return the confidence of a task's intervals in words, "" where it is unknown."""
    try:
        params = json.loads(Committed(root).read(f"evidence/{task}/data/params.json"))
        return f"{params['evaluate']['confidence']:.0%} "
    except (UserError, *_DAMAGED):
        return ""


def _rerun_figures(task: str, root: Path, report: "Report") -> dict[str, Any]:
    """Return the figures of the stage evaluate where the last tier ran it again, else none."""
    stage = f"evaluate@{task}"
    tiers = [tier for tier in report.tiers if tier.name in _RERUN_TIERS]
    compared = {finding.stage for tier in tiers[-1:] for finding in tier.findings}
    path = root / "data" / "evaluate" / task / "metrics.json"
    if stage not in compared or not path.is_file():
        return {}
    try:
        return figures(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, *_DAMAGED):  # the tier reports it
        return {}


def _disagreement(task: str, report: "Report") -> str:
    """Return the first stage on which a task's figures rest and which is outside, "" if none is."""
    stages = [f"{stage}@{task}" for stage in _ON_WHICH_METRICS_REST]
    outside = [f.stage for f in report.stages() if f.verdict is Verdict.OUTSIDE]
    return next((stage for stage in stages if stage in outside), "")


def _source(task: str, report: "Report") -> str:
    """Return in words from what a task's figures were recomputed, "" if they were not."""
    verdicts = {
        tier.name: finding.verdict
        for tier in report.tiers
        for finding in tier.findings
        if finding.stage == f"evaluate@{task}"
    }
    for tier, words in reversed(_SOURCES.items()):
        confirmed = (*RERUN, *((Verdict.AGREES,) if tier == "metrics" else ()))
        if verdicts.get(tier) in confirmed:
            return f"{words}, with code of the revision's own" if _own_code(tier, report) else words
    return ""


def _own_code(tier: str, report: "Report") -> bool:
    return tier in _RERUN_TIERS and bool(report.code)
