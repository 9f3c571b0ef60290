"""The model card of a task: its form, and tables of its results and weights."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.report.document import Section, Table

if TYPE_CHECKING:
    from stages.report.document import Document
    from stages.tools.archive.cached import CachedFile
    from stages.tools.archive.forms import Form
    from stages.tools.archive.task_evidence import TaskEvidence

_WEIGHTS = ".safetensors"


def model_card(form: "Form", task: "TaskEvidence", trained: "Sequence[CachedFile]") -> "Document":
    """Return the model card of a task.

    Args:
        form: its answers.
        task: whose model it is.
        trained: the outputs of the stage train.
    """
    rows = [
        [file.path, str(file.member.size), file.member.sha256, file.member.name]
        for file in trained
        if file.path.endswith(_WEIGHTS)
    ]
    head = ["file in the repository", "bytes", "SHA-256", "file in the archive"]
    weights = Section("weights", "Weights", [Table("Weights, as safetensors", head, rows, [1])])
    return form.document(task.name, [*_results(task), weights])


def _results(task: "TaskEvidence") -> list[Section]:
    """Return the test scores of model and baselines, as far as the pack has them."""
    scores = {"model": task.metrics.get("current"), **_baselines(task.metrics)}
    tables = {name: _numbers(values) for name, values in scores.items() if isinstance(values, dict)}
    if "model" not in tables:
        return []
    keys = list(tables["model"])
    rows = [[name, *(values.get(key, "") for key in keys)] for name, values in tables.items()]
    head = ["method", *(key.replace("_", " ") for key in keys)]
    caption = "Scores on test data; low and high: limits of the interval"
    return [Section("results", "Results", [Table(caption, head, rows, range(1, len(head)))])]


def _baselines(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    baselines = metrics.get("baselines")
    return baselines if isinstance(baselines, dict) else {}


def _numbers(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: f"{value:g}" for key, value in values.items() if isinstance(value, int | float)}
