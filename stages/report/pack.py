"""The evidence pack: its files, and the record under the names that every pack uses."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.core.files import to_bytes, to_csv, to_json
from stages.report.document import Document
from stages.report.formatting import answer_questions, gain_line, metric_table, worst_slice_line
from stages.report.rendering import render_markdown, render_page, to_data

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.report.artifacts import Artifact
    from stages.report.stage_outputs import ClassificationOutputs, StageOutputs


@dataclass(frozen=True)
class EvidencePack:
    """The evidence pack: its files in git, and the content of its pages as data for the cache.

    Attributes:
        document: the page.
        record: the record.
        data: the files below `data/`, by name.
        page_limit_mb: the largest size of the HTML page.
    """

    document: Document
    record: dict[str, Any]
    data: "dict[str, Content]"
    page_limit_mb: float

    def files(self) -> dict[str, bytes]:
        """Return the pack's files by their path in the evidence folder."""
        contents: dict[str, Content] = {
            "README.md": render_markdown(self.document, short=True),
            "index.html": render_page(self.document, self.page_limit_mb),
            "record.json": to_json(self.record),
            **{f"data/{name}": content for name, content in self.data.items()},
            **{f"pictures/{name}": data for name, data in self.document.pictures().items()},
        }
        return {path: to_bytes(path, content) for path, content in contents.items()}

    def content(self, files: Mapping[str, bytes]) -> "dict[str, Content]":
        """Return the content of the page as data, and the SHA-256 of each of the pack's files."""
        digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
        return {"document.json": to_data(self.document), "files.json": digests}


def data_files(outputs: "StageOutputs", artifacts: "Sequence[Artifact]") -> "dict[str, Content]":
    """Return the files from which the pages' figures come, by their name in the pack."""
    return {
        "run_command.txt": f"{outputs.run_command}\n",
        "dataset_note.json": to_json(outputs.dataset.note),
        "params.json": to_json(outputs.task.params.model_dump()),
        **{artifact.packed_as: artifact.path(outputs.task).read_bytes() for artifact in artifacts},
    }


def classification_files(
    outputs: "ClassificationOutputs", artifacts: "Sequence[Artifact]"
) -> "dict[str, Content]":
    """Return `data_files` and the metric table of a classifier."""
    return {
        **data_files(outputs, artifacts),
        "metric_table.csv": to_csv(metric_table(outputs)),
    }


def common_record(outputs: "StageOutputs") -> dict[str, Any]:
    """Return the keys of the record that need nothing but the outputs of any kind."""
    metrics, note = outputs.metrics, outputs.dataset.note
    samples = outputs.successes[["id", "true", "predicted", "confidence"]]
    return {
        "task": outputs.task.name,
        "kind": outputs.task.kind,
        "verdict": outputs.gain["verdict"],
        "improvement": round(outputs.gain["gain"], 3),
        "failure_case_count": outputs.summary["failure_case_count"],
        "run_command": outputs.run_command,
        "dataset_note": f"{note['origin']}; {note['split_rule']}",
        "label_rules": note["label_rules"],
        "baseline": {"method": metrics["strongest_baseline"], **metrics["baseline"]},
        "current_result": {
            **metrics["current"],
            "n": metrics["n"],
            "seed": metrics["primary_seed"],
            "success_samples": samples.to_dict("records"),
        },
        "next_step": outputs.next_step,
        "next_action": outputs.next_step["command"],
    }


def classification_record(
    outputs: "ClassificationOutputs", extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the record of a classifier, with the `extra` keys of its kind."""
    columns = ["id", "true", "predicted", "confidence", "change", "cause", "bucket"]
    return {
        **common_record(outputs),
        "failure_cases": outputs.cases[columns].to_dict("records"),
        "questions": answer_questions(outputs),
        "headline": gain_line(outputs),
        "worst": worst_slice_line(outputs),
        **extra,
    }
