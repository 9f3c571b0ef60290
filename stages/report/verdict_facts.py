"""The verdict with its figures, its test, and what it holds for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stages.evaluation.verdict import groups_needed
from stages.report.document import Facts
from stages.report.formatting import (
    interval_method,
    percent,
    points,
    points_range,
    significance_line,
    verdict_reason,
)

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier
    from stages.report.stage_outputs import ClassificationOutputs


def verdict_facts(outputs: "ClassificationOutputs") -> Facts:
    """Return the verdict with its figures, its test, and what it holds for."""
    gain, params = outputs.gain, outputs.task.params.evaluate
    level = f"{percent(params.confidence, 0)} interval"
    facts = {
        "Verdict": verdict_reason(outputs),
        "Gain": f"{points(gain['gain'])}, {level} {points_range(gain['gain_low'], gain['gain_high'])} "
        f"({interval_method(gain, params)})",
        "Test": f"{gain['fixed']} samples fixed, {gain['broken']} broken; {significance_line(gain)}",
    }
    if "groups" in gain:
        facts |= _group_facts(gain, params, outputs.metrics["n"])
    if gain["seeds"] > 1:
        facts[f"Over {gain['seeds']} seeds"] = (
            f"mean gain {points(gain['seed_gain_mean'])}, "
            f"{points_range(gain['seed_gain_min'], gain['seed_gain_max'])}, standard deviation "
            f"{100 * gain['seed_gain_sd']:.2f} points"
        )
    detectable = points(gain["smallest_detectable_gain"])
    if gain["smallest_detectable_gain"] >= 1:
        detectable = "none"
    facts |= {
        "Smallest detectable gain": f"{detectable} with {percent(gain['power'], 0)} power, if "
        f"{percent(params.assumed_regressions)} of samples are broken; the params call "
        f"{points(params.worthwhile_gain)} worthwhile",
        "Log loss": f"lower than the baseline's by {gain['log_loss_gain']:.3f} nats, {level} "
        f"{gain['log_loss_gain_low']:.3f} to {gain['log_loss_gain_high']:.3f} (like that of the gain)",
        "Scope": _scope(outputs),
    }
    return Facts(list(facts.items()))


def _group_facts(
    gain: Mapping[str, Any], params: "EvaluateClassifier", count: int
) -> dict[str, str]:
    """Return what the groups do to the gain, of which `count` samples tell."""
    groups = gain["groups"]
    if groups == 1:
        return {"Design effect": "unknown: one group does not show how much groups differ"}
    facts = {
        "Design effect": f"{gain['design_effect']:.2f}: about the gain, {count} samples of {groups} groups "
        f"say as much as {gain['effective_n']:.0f} independent ones",
    }
    if groups >= groups_needed(1 - params.confidence):
        facts["Gain by standard error"] = (
            f"{percent(params.confidence, 0)} interval "
            f"{points_range(gain['gain_t_low'], gain['gain_t_high'])} (cluster-robust standard error, "
            f"Student's t with {gain['degrees_of_freedom']:.1f} degrees of freedom)"
        )
    return facts


def _scope(outputs: "ClassificationOutputs") -> str:
    gain, count = outputs.gain, outputs.metrics["n"]
    if "groups" not in gain:
        return f"the intervals hold for samples like these {count}"
    return (
        f"the intervals hold for new groups, as far as they are like these {gain['groups']} (evidence "
        f"bench {outputs.task.name} measures other splits)"
    )
