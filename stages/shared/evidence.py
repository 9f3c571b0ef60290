"""The evidence pack: its files, and the record under the names that every pack uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.shared.document import Document, markdown, page, plain
from stages.shared.files import as_csv, as_json
from stages.shared.wording import answers, metric_table

if TYPE_CHECKING:
    from stages.shared.files import Content
    from stages.shared.findings import Findings, Left


@dataclass(frozen=True)
class Pack:
    """The evidence pack: what goes into git, and the pages' content as data for the cache."""

    document: Document
    record: dict[str, Any]
    data: "dict[str, Content]"
    page_limit_mb: float

    def files(self) -> "dict[str, Content]":
        """Return the pack's files by their path in the evidence folder."""
        return {
            "README.md": markdown(self.document),
            "index.html": page(self.document, self.page_limit_mb),
            "record.json": as_json(self.record),
            **{f"data/{name}": content for name, content in self.data.items()},
            **{f"pictures/{name}": data for name, data in self.document.pictures().items()},
        }

    def content(self) -> "dict[str, Content]":
        """Return what the pages say, as data."""
        return {"document.json": plain(self.document)}


def record(found: "Findings", more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record, under the names that every pack uses."""
    metrics, note = found.metrics, found.dataset.note
    columns = ["id", "true", "predicted", "confidence", "change", "cause", "bucket"]
    return {
        "task": found.task.name,
        "improvement": round(found.gain["gain"], 3),
        "failure_case_count": found.summary["failure_case_count"],
        "run_command": found.run_command,
        "dataset_note": f"{note['origin']}; {note['split_rule']}",
        "baseline": {"method": metrics["strongest_baseline"], **metrics["baseline"]},
        "current_result": {
            **metrics["current"],
            "n": metrics["n"],
            "seed": metrics["headline_seed"],
            "success_samples": found.successes[["id", "true", "predicted", "confidence"]].to_dict(
                "records"
            ),
        },
        "failure_cases": found.cases[columns].to_dict("records"),
        "next_step": found.next_step,
        "questions": answers(found),
        **more,
    }


def data_files(found: "Left") -> "dict[str, Content]":
    """Return the files from which the pages' figures come, as they go into git."""
    return {
        "run_command.txt": f"{found.run_command}\n",
        "dataset_note.json": as_json(found.dataset.note),
        "checks.json": as_json(found.checks),
        "model_summary.csv": as_csv(found.shapes),
        "training_log.csv": as_csv(found.log),
        "machine.json": as_json(found.machine),
        "baseline.json": as_json(found.baseline),
        "chosen_epochs.json": as_json(found.chosen),
        "troubles.json": as_json(found.troubles + found.alarms),
        "failure_summary.json": as_json(found.summary),
        "params.json": as_json(found.task.params.model_dump()),
        "metrics.json": as_json(found.metrics),
        "prediction_samples.csv": as_csv(found.successes),
        "failure_cases.csv": as_csv(found.cases),
        "next_step.json": as_json(found.next_step),
    }


def classifier_files(found: "Findings") -> "dict[str, Content]":
    """Return these files for a classifier."""
    return {
        **data_files(found),
        "metric_table.csv": as_csv(metric_table(found)),
        "per_class.csv": as_csv(found.per_class),
        "confusion_matrix.csv": as_csv(found.confusion),
        "predictions.csv": as_csv(found.predictions),
        "baseline_predictions.csv": as_csv(found.baselines),
        "validation_predictions.csv": as_csv(found.validation),
    }


def named(found: "Findings") -> dict[str, Any]:
    """Return what an image classifier's record names beside that."""
    note, first = found.dataset.note, found.cases.iloc[0]
    return {
        "label_rules": note["label_rules"],
        "split_rule": note["split_rule"],
        "class_counts": note["class_counts"],
        "metric": {
            "accuracy": found.metrics["current"]["accuracy"],
            "confusion_matrix": "data/confusion_matrix.csv",
        },
        "error_case": {
            "id": first["id"],
            "true": first["true"],
            "predicted": first["predicted"],
            "likely_cause": first["cause"],
        },
        "next_action": found.next_step["command"],
    }
