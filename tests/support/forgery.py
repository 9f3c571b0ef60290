"""What a forger does to a repository, and what verify reports of it."""

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dvc.repo import Repo
from ruamel.yaml import YAML

from stages.core.files import read_arrays, read_json, to_json, write, write_all
from stages.datasets.dataset import read_dataset
from stages.evaluation import comparison
from stages.evaluation.classifier import ClassifierEvaluation
from stages.evaluation.prediction_tables import tabulate_predictions
from stages.kinds.params import load_params, load_tasks
from stages.tools.tolerance import FILE, flatten
from stages.tools.verify.report import Report
from stages.tools.verify.verdicts import Verdict


def replace(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text, which must be there, in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edit_lock(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the stages of dvc.lock, which `change` gets by name."""
    yaml = YAML()
    content = yaml.load((folder / "dvc.lock").read_text())
    change(content["stages"])
    with (folder / "dvc.lock").open("w") as file:
        yaml.dump(content, file)


def without_path(entries: list[dict[str, Any]], path: str) -> None:
    """Remove the entry of a file or folder from the dependencies or outputs of a stage in dvc.lock."""
    entries[:] = [entry for entry in entries if entry["path"] != path]


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    """Change the content of a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def edit_table(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    """Change a CSV file, in place or by returning another table."""
    table = pd.read_csv(path, keep_default_na=False)
    changed = change(table)
    result = table if changed is None else changed
    result.to_csv(path, index=False, float_format="%.6f", lineterminator="\n")


def forge_predictions(folder: Path, name: str) -> None:
    """Evaluate a task with predictions that are nearly all right."""
    with contextlib.chdir(folder):
        task = load_tasks(load_params())[name]
        dataset, baseline = read_dataset(task), task.folder("baseline")
        evaluation = task.folder("evaluate")
        right = np.eye(len(dataset.classes), dtype=np.float32)[dataset.labels("test")] * 0.9 + 0.03
        probabilities = {}
        for run_name in read_arrays(evaluation / "probabilities.safetensors"):
            probabilities[run_name] = right.copy()
            # Less conspicuous than no mistake.
            probabilities[run_name][:4] = np.roll(right[:4], 1, axis=1)
        summary = read_json(baseline / "baseline.json")
        artifacts = {
            artifact.name: artifact for artifact in task.module("artifacts").artifacts(task)
        }
        validation = artifacts["validation_predictions"]
        tables = tabulate_predictions(
            dataset,
            {int(run_name[5:]): array for run_name, array in probabilities.items()},
            read_arrays(baseline / "test.safetensors"),
            summary["strongest"],
            validation.load(validation.path(task)),
        )
        log = artifacts["log"].load(artifacts["log"].path(task))
        metrics = comparison.compute_metrics(task, dataset, tables, summary, log)
        features = read_arrays(evaluation / "features.safetensors")
        forged = ClassifierEvaluation(tables, probabilities, features, metrics)
        write_all(evaluation, forged.files())


def claim_another_machine(folder: Path, *tasks: str) -> None:
    """Write another processor into the machine record of tasks."""

    def change(records: dict[str, Any]) -> None:
        for task in tasks:
            records[task]["machine"]["processor"] = "another"

    edit_json(folder / "evidence/machine.json", change)


def claim_wide_tolerance(folder: Path, task: str) -> None:
    """Write a tolerance that allows anything of a task."""
    metrics = flatten(json.loads((folder / f"evidence/{task}/data/metrics.json").read_text()))
    wide = {key: {"tolerance": 1e6} for key in metrics}
    write(folder / FILE, to_json({"tasks": {task: {"metrics": wide}}}))


def relock(folder: Path, *stages: str) -> None:
    """Write the hashes of files as they are now into dvc.lock, as `dvc commit --force` does.

    Args:
        folder: of the repository.
        stages: whose files have changed; all by default, which takes seconds.
    """
    with contextlib.chdir(folder), Repo() as repo:
        for stage in stages or [None]:
            repo.commit(stage, force=True)


def outside(report: Report, tier: str) -> dict[str, list[str]]:
    """Return by stage what disagrees according to a tier."""
    reasons = defaultdict(list)
    findings = [
        finding for entry in report.tiers if entry.name == tier for finding in entry.findings
    ]
    for finding in findings:
        if finding.verdict is Verdict.OUTSIDE:
            reasons[finding.stage].append(finding.reason)
    return dict(reasons)
