"""A comparison of two methods as text and as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.evaluation.metric_names import METRICS
from stages.tools.text_tables import align

if TYPE_CHECKING:
    from stages.evaluation.paired_tables import PairedComparison

_SAMPLES = 10  # of those fixed, and of those broken, that are printed


@dataclass(frozen=True)
class Report:
    """What a comparison prints and writes.

    Attributes:
        lines: of text.
        content: of the JSON file.
        comparisons: to draw, by the name of the task; "" where there is only one.
        names: of the two methods.
        accepted: whether the second one may replace the first.
    """

    lines: list[str]
    content: dict[str, Any]
    comparisons: "Mapping[str, PairedComparison]"
    names: tuple[str, str]
    accepted: bool


def verdict_sentence(comparison: "PairedComparison", names: tuple[str, str]) -> str:
    """Return the verdict in one sentence, with the gain, its interval and the test.

    Args:
        comparison: of two methods.
        names: of the first, and of the second.
    """
    from stages.report.formatting import percent, points_range, significance_line

    figures, (first, second) = comparison.figures, names
    gain, level = 100 * figures["gain"], percent(comparison.params.confidence, 0)
    side = "above" if gain > 0 else "below"
    size = f"{abs(gain):.1f}" if round(gain, 1) else f"{abs(gain):.2g}"
    relation = f"{size} points {side}" if round(gain, 9) else "equal to"
    sentence = (
        f"{comparison.verdict.capitalize()}: the {METRICS[comparison.params.metric]} of {second} is "
        f"{relation} that of {first} ({level} interval "
        f"{points_range(figures['gain_low'], figures['gain_high'])}; {significance_line(figures)})"
    )
    return "; ".join([sentence, *_meaning(comparison)])


def _meaning(comparison: "PairedComparison") -> Iterator[str]:
    """Yield what a verdict means where its name does not say so."""
    from stages.report.formatting import verdict_meaning

    verdict, params = comparison.verdict, comparison.params
    if comparison.identical:
        yield "no prediction differs"
    meaning = verdict_meaning({"verdict": verdict, **comparison.figures}, params)
    if meaning:
        yield meaning
    if verdict == "underpowered":
        gain = f"{100 * params.worthwhile_gain:.1f} points"
        yield f"so few samples miss even a gain of {gain} more than one time in five"


def figure_rows(
    comparison: "PairedComparison", names: tuple[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the figures behind a verdict, as (term, value)."""
    from stages.report.formatting import (
        interval_method,
        percent,
        points,
        points_range,
        significance_line,
    )

    pairs, figures, params = comparison.pairs, comparison.figures, comparison.params
    first, second = names
    yield "samples", f"{len(pairs.ids):,}"
    if any(pairs.omitted):
        only = [f"{count:,} of {name}" for count, name in zip(pairs.omitted, names, strict=True)]
        yield "left out", f"{' and '.join(only)}, which the other has not"
    yield (
        "groups",
        f"{figures['groups']:,}" if "groups" in figures else "none: samples are independent",
    )
    for name, (score, low, high) in zip(names, comparison.scores, strict=True):
        interval = f"{percent(low)} to {percent(high)}"
        yield f"{METRICS[params.metric]} of {name}", f"{percent(score)} ({interval})"
    interval = points_range(figures["gain_low"], figures["gain_high"])
    yield "gain", f"{points(figures['gain'])} ({interval})"
    yield "test", significance_line(figures)
    yield "fixed", f"{figures['fixed']:,}, which only {second} gets right"
    yield "broken", f"{figures['broken']:,}, which only {first} gets right"
    detectable = f"{100 * figures['smallest_detectable_gain']:.1f} points"
    yield "smallest detectable gain", f"{detectable}, with {percent(figures['power'], 0)} power"
    if pairs.losses is not None:
        before, after = pairs.losses.mean(axis=1)
        low, high = -figures["log_loss_gain_high"], -figures["log_loss_gain_low"]
        yield "log loss", f"{before:.4f} of {first}, {after:.4f} of {second}"
        change, low, high = (round(value, 4) + 0.0 for value in (after - before, low, high))
        yield "difference in log loss", f"{change:+.4f} ({low:+.4f} to {high:+.4f})"
    method = interval_method({"verdict": comparison.verdict, **figures}, params)
    yield "intervals", f"{percent(params.confidence, 0)}; of the gain: {method}"


def sample_lines(comparison: "PairedComparison") -> Iterator[str]:
    """Yield the first samples that are fixed and broken, with both predictions."""
    for kind, rows in (("fixed", comparison.fixed()), ("broken", comparison.broken())):
        if not rows:
            continue
        rest = f", the first {_SAMPLES} of {len(rows):,}" if len(rows) > _SAMPLES else ""
        yield f"{kind}{rest}:"
        cells = [
            (row["id"], f"label {row['label']}", f"{row['a']} -> {row['b']}")
            for row in rows[:_SAMPLES]
        ]
        yield from (f"  {line}" for line in align(cells, 3))


def as_json(comparison: "PairedComparison") -> dict[str, Any]:
    """Return a comparison as JSON: verdict, figures, scores, params, all samples fixed and broken."""
    pairs = comparison.pairs
    methods = []
    for index, (score, low, high) in enumerate(comparison.scores):
        metric = comparison.params.metric
        scores: dict[str, Any] = {metric: score, f"{metric}_low": low, f"{metric}_high": high}
        if pairs.losses is not None:
            scores["log_loss"] = float(pairs.losses[index].mean())
        methods.append(scores)
    return {
        "verdict": comparison.verdict,
        "accepted": comparison.accepted,
        "n": len(pairs.ids),
        "only_in_a": pairs.omitted[0],
        "only_in_b": pairs.omitted[1],
        "improvement": comparison.figures,
        "a": methods[0],
        "b": methods[1],
        "params": comparison.params.model_dump(exclude={"bins"}),
        "fixed": comparison.fixed(),
        "broken": comparison.broken(),
    }
