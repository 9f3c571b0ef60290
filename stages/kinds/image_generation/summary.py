"""The result in words: verdict, summary, the five answers, and drafts of the review notes."""

from typing import TYPE_CHECKING

from stages.kinds.image_generation.failure_section import worst_line
from stages.report.formatting import percent, table_rows

if TYPE_CHECKING:
    from stages.kinds.image_generation.outputs import GenerationOutputs


def verdict_line(outputs: "GenerationOutputs") -> str:
    """Return the result in one line: verdict, gain, interval."""
    return f"{outputs.gain['verdict'].capitalize()}: {gain_line(outputs)}"


def gain_line(outputs: "GenerationOutputs") -> str:
    """Return the gain and its interval in one line."""
    gain, metrics = outputs.gain, outputs.metrics
    level = percent(outputs.task.params.evaluate.confidence, 0)
    return (
        f"Fréchet distance to test images "
        f"{metrics['current']['frechet_test']:.2f}, baseline ({metrics['strongest_baseline']}) "
        f"{metrics['baseline']['frechet_test']:.2f} (gain {gain['gain']:.2f}, {level} interval "
        f"{gain['gain_low']:.2f} to {gain['gain_high']:.2f}; lower distances are better)"
    )


def summary_line(outputs: "GenerationOutputs") -> str:
    """Return the size of the evaluation, and how the samples compare with real images."""
    metrics, params = outputs.metrics, outputs.task.params.evaluate
    current, real, gain = metrics["current"], outputs.real, outputs.gain
    rule = "" if metrics["selection"]["rule_satisfied"] else " No checkpoint satisfies the rule."
    seeds = ""
    if gain["seeds"] > 1:
        seeds = (
            f", {gain['seeds']} sampling seeds: gain {gain['seed_gain_min']:.2f} to "
            f"{gain['seed_gain_max']:.2f}"
        )
    return (
        f"{metrics['n']} samples of the checkpoint at step {current['step']} are compared with "
        f"{metrics['n_test']} test images. The Fréchet distance of real images is "
        f"{real['frechet_test']:.2f}. The samples cover {percent(current['coverage_test'])} of the test "
        f"images (real images: {percent(real['coverage_test'])}); {percent(current['label_agreement'])} "
        f"show the requested class; {percent(current['copy_rate'])} are closer to a training image than "
        f"{percent(1 - params.copy_quantile, 0)} of test images are. One model (seed "
        f"{metrics['primary_seed']}){seeds}.{rule}"
    )


def answers(outputs: "GenerationOutputs") -> dict[str, str]:
    """Return the answers to `sections.QUESTIONS`, by their keys."""
    metrics, summary, first = outputs.metrics, outputs.summary, outputs.cases.iloc[0]
    strongest = metrics["strongest_baseline"]
    better = "" if outputs.gain["verdict"] == "better" else "None yet. The strongest is "
    return {
        "baseline": f"{better}{strongest}, the strongest on validation images (compared: "
        f"{', '.join(outputs.baseline['methods'])})",
        "metric": f"{verdict_line(outputs)}; n {metrics['n']} samples, {metrics['n_test']} test images",
        "sample_success": f"{summary['samples'] - summary['failure_case_count']} of "
        f"{summary['samples']} samples fail no criterion; {len(outputs.successes)} are "
        "in data/prediction_samples.csv",
        "sample_failure": f"{worst_line(outputs)} {summary['failure_case_count']} samples fail "
        f"({_bucket_counts(outputs)}). The "
        f"first case is {first['id']}: requested class {first['true']}, predicted "
        f"{first['predicted']} ({first['bucket']}, {first['kind']})",
        "debug_next": outputs.next_step["why"],
    }


def review_drafts(outputs: "GenerationOutputs") -> dict[str, str]:
    """Return drafts of the review notes, computed from the figures, by heading."""
    return {
        "Quality": _quality(outputs),
        "Diversity": _diversity(outputs),
        "Failures": f"{outputs.summary['failure_case_count']} of {outputs.summary['samples']} samples: "
        f"{_bucket_counts(outputs)}",
        "Choice": _choice(outputs),
    }


def _quality(outputs: "GenerationOutputs") -> str:
    current, real, steps = outputs.metrics["current"], outputs.real, outputs.checkpoint_rows
    first, best = steps.iloc[0], steps["frechet_validation"].min()
    setbacks = [
        f"{row['method']}: {row['note']}"
        for row in table_rows(steps)
        if "falls back" in row["note"] or "collapses" in row["note"]
    ]
    steadiness = f"Not steady: {'; '.join(setbacks)}" if setbacks else "No checkpoint falls back"
    return (
        f"The Fréchet distance to validation images falls from {first['frechet_validation']:.2f} at "
        f"{first['method']} to {best:.2f} at the best checkpoint. To test images it is "
        f"{current['frechet_test']:.2f}, {current['frechet_test'] / real['frechet_test']:.1f} times "
        f"that of real images. {steadiness}."
    )


def _diversity(outputs: "GenerationOutputs") -> str:
    current, real = outputs.metrics["current"], outputs.real
    classes = outputs.summary["collapsed_classes"]
    collapsed = f"collapsed classes: {', '.join(classes)}" if classes else "no class has collapsed"
    return (
        f"coverage {current['coverage_test']:.3f} (real images {real['coverage_test']:.3f}), recall "
        f"{current['recall_test']:.3f} (real images {real['recall_test']:.3f}); {collapsed}"
    )


def _choice(outputs: "GenerationOutputs") -> str:
    selection = outputs.metrics["selection"]
    broken = "; no checkpoint satisfies it, so that the closest to real images is taken"
    return (
        f"step {selection['step']}, by the rule: {selection['rule']}"
        f"{'' if selection['rule_satisfied'] else broken}"
    )


def _bucket_counts(outputs: "GenerationOutputs") -> str:
    return ", ".join(f"{count} {name}" for name, count in outputs.summary["buckets"].items())
