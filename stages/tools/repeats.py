"""Repeats of a task: each with another split and another training seed, all of them in one table."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.tools import scratch
from stages.tools.jobs.job import Job

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.kind import BenchRuns
    from stages.tools.jobs.site import Site

_REPEATED = ("prepare", "check", "baseline", "train", "evaluate")  # the stages of each repeat


def variation(repeat: int) -> dict[str, Any]:
    """Return the params of a task that differ in a repeat: the seeds of the split and of all training.

    Both vary together, so that the repeats show all that a result owes to chance (Bouthillier et al., 2021,
    section 4).
    """
    return {
        "prepare": {"split": {"seed": repeat}},
        "baseline": {"flatten_linear": {"seed": repeat}},
        "train": {"seeds": [repeat]},
    }


def run_repeats(
    tasks: Sequence["Task"], repeats: Mapping[str, int], site: "Site"
) -> dict[str, dict[int, dict[str, Any]]]:
    """Run tasks over splits and training seeds; return their metrics by task and repeat.

    Args:
        tasks: to run.
        repeats: the number of repeats of each, by its name.
        site: where the repeats run.

    Raises:
        UserError: a stage fails.
    """
    jobs, keys = [], {}
    for task in tasks:
        commands = [("python", "-m", f"stages.{stage}", task.name) for stage in _REPEATED]
        for repeat in range(repeats[task.name]):
            job = Job(
                f"{task.name}, repeat {repeat}", commands, partial(_vary, task=task, repeat=repeat)
            )
            jobs.append(job)
            keys[job.name] = task, repeat
    metrics: dict[str, dict[int, dict[str, Any]]] = {task.name: {} for task in tasks}
    for ended in site.run(jobs):
        if ended.failure:
            raise UserError(f"{ended.name}: {ended.failure}")
        task, repeat = keys[ended.name]
        path = ended.clone / task.folder("evaluate") / "metrics.json"
        metrics[task.name][repeat] = read_json(path)
    return metrics


def _vary(clone: Path, task: "Task", repeat: int) -> None:
    scratch.link_local_inputs(clone, task)
    scratch.change_params(clone, task.name, variation(repeat))


def results(task: "Task", bench: "BenchRuns", metrics: Mapping[int, Mapping[str, Any]]) -> str:
    """Return a table of a task's results over splits and training seeds, in Markdown.

    Args:
        task: of the results.
        bench: the columns of its kind.
        metrics: by repeat.
    """
    from stages.report.formatting import markdown_table

    repeats = len(metrics)
    rows = [
        {"seed": repeat, **select_figures(metrics[repeat], bench.columns)}
        for repeat in range(repeats)
    ]
    gains = [metrics[repeat]["current"]["improvement"]["gain"] for repeat in range(repeats)]
    figures = [row[bench.summary] for row in rows]
    table = markdown_table(list(rows[0]), [[_cell(cell) for cell in row.values()] for row in rows])
    return (
        f"{table}\n\nThe seed is that of the split and of training: each repeat holds out other data and "
        f"trains another model. {bench.summary.capitalize()}: mean {mean(figures):.4f}, standard deviation "
        f"{stdev(figures):.4f}, least {min(figures):.4f}, most {max(figures):.4f}, over {repeats} repeats."
        f"\n\n{describe_outperforming(gains, task.params.evaluate.confidence)}"
    )


def describe_outperforming(gains: Sequence[float], confidence: float) -> str:
    """Return in words how probably the model outperforms the strongest baseline in another repeat.

    Args:
        gains: over the strongest baseline, of each repeat.
        confidence: level of the interval.
    """
    from stages.evaluation.outperforming import (
        GAMMA,
        probability_of_outperforming,
        recommended_repeats,
    )

    p = probability_of_outperforming(gains, confidence)
    wins, ties = sum(gain > 0 for gain in gains), sum(gain == 0 for gain in gains)
    return (
        f"P(model > strongest baseline): {p.share:.2f}, {confidence:.0%} interval {p.low:.2f} to "
        f"{p.high:.2f}, from {wins} wins and {ties} ties, which count half, in {p.repeats} repeats: "
        f"{p.conclusion}. Better: the interval lies above 0.5; meaningfully: it also reaches above {GAMMA} "
        f"(Bouthillier et al., 2021, who recommend {recommended_repeats()} repeats). The repeats share "
        "samples, so the interval is optimistic: it is too narrow."
    )


def select_figures(metrics: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Return figures of metrics.json by heading.

    Args:
        metrics: its content.
        columns: heading -> dotted path; a `*` in both stands for each key at that place.
    """
    figures: dict[str, Any] = {}
    for heading, path in columns.items():
        before, star, _ = path.partition("*")
        names = _at(metrics, before.rstrip(".")) if star else [""]
        for name in names:
            figures[heading.replace("*", name)] = _at(metrics, path.replace("*", name))
    return figures


def _at(metrics: Any, path: str) -> Any:
    for key in path.split("."):
        metrics = metrics[key]
    return metrics


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
