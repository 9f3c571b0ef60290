"""The verdict on stages that were run again: their outputs compared with what is committed."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.processes import run_command
from stages.tools.tolerance import Tolerance
from stages.tools.verify.lock import LockedRepo
from stages.tools.verify.machines import Machines
from stages.tools.verify.pipeline import verifiable_tasks
from stages.tools.verify.recompute import DAMAGED
from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from dvc.stage import Stage

    from stages.report.artifacts import Artifact

# The stages of a task that run a network or fit a model, where another machine may round differently.
# Any other stage gives the same bytes if all that it reads is as committed.
_NUMERIC = {"check", "baseline", "train", "evaluate"}
# The columns that follow from the weights alone, and from no baseline or reference classifier fitted again.
_MODEL_COLUMNS = {
    "predictions.csv": r"seed_\d+|confidence|loss",
    "validation_predictions.csv": r"seed_\d+",
    "samples.csv": r"nearest_distance|sharpness",
}
_PREDICTION_TABLES = (
    "predictions.csv",
    "validation_predictions.csv",
    "baseline_predictions.csv",
    "samples.csv",
)
_NO_PREDICTIONS = {"id", "row", "neighbour_row", "nearest_sample"}  # whole numbers, but no labels
_MAX_MEDIAN_DIFFERENCE = 5e-3  # of such a column, where another machine runs the same weights
_MAX_CHANGED_LABELS = 0.005  # the share of labels that rounding may decide otherwise then


@dataclass(frozen=True)
class Failure:
    """Why a stage did not run; `contradicts`: no machine makes honest results fail so."""

    reason: str
    contradicts: bool = False


class Committed:
    """The files of a clone as they are in git, whatever the folder holds now."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> str:
        """Return the text of a file.

        Raises:
            UserError: it is not in git.
        """
        result = run_command(self.root, "git", "show", f"HEAD:{path}")
        if result.returncode:
            raise UserError(f"{path} is not in git")
        return result.stdout


class RerunComparison:
    """Compares the outputs of stages that were run again with the committed ones.

    Attributes:
        repo: the clone.
        tolerance: by how much metrics may differ.
        machines: on which the results were computed.
    """

    def __init__(self, repo: LockedRepo, tolerance: Tolerance, machines: Machines) -> None:
        self.repo = repo
        self.tolerance = tolerance
        self.machines = machines
        self._committed = Committed(repo.root)

    def verdicts(
        self,
        stages: Sequence[str],
        failures: Mapping[str, Failure],
        *,
        same_weights: bool = False,
    ) -> list[Finding]:
        """Return the verdict on each stage.

        Args:
            stages: those to run again, in their order.
            failures: by stage, why it did not run.
            same_weights: whether the stored weights were used. Then the tolerance, which covers other
                training seeds, does not apply to what follows from the weights alone.
        """
        differing: dict[str, list[str]] = {}
        findings = []
        for name in stages:
            if name in failures:
                findings.append(self._failure_verdict(name, failures[name]))
                continue
            changed, missing = self.repo.differing(name)
            if missing:
                findings.append(Finding(name, Verdict.UNCHECKED, f"it did not write {missing[0]}"))
            elif changed:
                differing[name] = changed
            else:
                findings.append(Finding(name, Verdict.BITWISE))
        tasks = set(verifiable_tasks(self.repo))
        rerun = [self.repo.stages[name] for name in stages if name not in failures]
        for name, changed in differing.items():
            stage, _, task = name.partition("@")
            if task in tasks:
                finding = self._compare_task(stage, task, differing, same_weights=same_weights)
            elif name == "compare" and tasks:
                finding = self._compare_merged(changed)
            else:
                finding = self._compare_any(name, changed, rerun)
            findings.append(finding)
        return findings

    def _failure_verdict(self, name: str, failure: Failure) -> Finding:
        contradicts = failure.contradicts or self._has_failed_checks(name)
        verdict = Verdict.OUTSIDE if contradicts else Verdict.UNCHECKED
        return Finding(name, verdict, failure.reason)

    def _has_failed_checks(self, name: str) -> bool:
        stage, _, task = name.partition("@")
        path = self.repo.root / "data" / "check" / task / "checks.json"
        if stage != "check" or not path.exists():
            return False
        try:
            checks = json.loads(path.read_text(encoding="utf-8"))
            return not all(check["passed"] for check in checks)
        except DAMAGED:
            return False

    def _compare_task(
        self,
        stage: str,
        task: str,
        differing: Mapping[str, list[str]],
        *,
        same_weights: bool,
    ) -> Finding:
        """Return the verdict on a stage of this project's pipeline whose outputs differ."""
        name = f"{stage}@{task}"
        reason = self._inexcusable(stage, task, differing, same_weights=same_weights)
        if reason:
            return Finding(name, Verdict.OUTSIDE, f"{differing[name][0]}: {reason}")
        try:
            if stage == "check":
                return self._compare_checks(task)
            return self._compare_results(name, task, same_weights=same_weights)
        except (UserError, *DAMAGED) as error:
            return Finding(name, Verdict.UNCHECKED, f"nothing to compare with: {error}")

    def _inexcusable(
        self,
        stage: str,
        task: str,
        differing: Mapping[str, list[str]],
        *,
        same_weights: bool,
    ) -> str:
        """Return why the rounding of another machine does not explain the difference, "" if it may."""
        if stage == "prepare":
            return "run again, it gives other samples"
        numeric_differs = any(f"{name}@{task}" in differing for name in _NUMERIC)
        if stage not in _NUMERIC and not numeric_differs:
            return "run again on the same inputs, it gives another one"
        if self.machines.is_alike(task):
            return "computed on a machine like this one, where it comes out differently"
        trained_alike = not same_weights and f"train@{task}" not in differing
        if stage != "train" and trained_alike:
            return "training comes out bit for bit here, and this does not"
        return ""

    def _compare_checks(self, task: str) -> Finding:
        name = f"check@{task}"
        artifact = _artifacts(self.repo.root, task)["checks.json"]
        texts = self._read_both(artifact, task)
        passed = [{row["check"]: row["passed"] for row in json.loads(text)} for text in texts]
        if passed[0] != passed[1]:
            return Finding(
                name, Verdict.OUTSIDE, "checks.json: other checks pass when it is run again"
            )
        return Finding(
            name, Verdict.SAME, "the same checks pass; figures differ in their last digits"
        )

    def _compare_results(self, name: str, task: str, *, same_weights: bool) -> Finding:
        artifacts = _artifacts(self.repo.root, task)
        metrics = [json.loads(text) for text in self._read_both(artifacts["metrics.json"], task)]
        tables = {
            file: self._read_tables(artifacts[file], task)
            for file in _PREDICTION_TABLES
            if file in artifacts
        }
        outside = list(_weight_disagreements(tables)) if same_weights else []
        outside += [f"metrics.json: {line}" for line in self.tolerance.outside(task, *metrics)]
        if outside:
            return Finding(name, Verdict.OUTSIDE, f"evidence/{task}/data/{outside[0]}")
        largest = self.tolerance.largest(task, *metrics)
        changed = next(_changed_predictions(tables), "")
        if changed:
            reason = f"evidence/{task}/data/{changed}; {largest}"
            return Finding(name, Verdict.TOLERANCE, reason)
        return Finding(name, Verdict.SAME, largest)

    def _read_both(self, artifact: "Artifact", task: str) -> tuple[str, str]:
        """Return the text of an artifact as committed in the pack, and as the stage has written it now."""
        committed = self._committed.read(f"evidence/{task}/data/{artifact.packed_as}")
        path = self.repo.root / "data" / artifact.stage / task / artifact.file
        return committed, path.read_text(encoding="utf-8")

    def _read_tables(self, artifact: "Artifact", task: str) -> "tuple[pd.DataFrame, pd.DataFrame]":
        import io

        import pandas as pd

        committed, rerun = (
            pd.read_csv(io.StringIO(text)) for text in self._read_both(artifact, task)
        )
        return committed, rerun

    def _compare_merged(self, changed: Sequence[str]) -> Finding:
        """Return the verdict on the stage compare, which merges the results of all tasks."""
        for task in verifiable_tasks(self.repo):
            evaluation = f"evaluate@{task}"
            if any(self.repo.differing(evaluation)):
                reason = f"it merges the results of {evaluation}, which differ"
                return Finding("compare", Verdict.TOLERANCE, reason)
        reason = f"{changed[0]}: run again on the same inputs, it gives another one"
        return Finding("compare", Verdict.OUTSIDE, reason)

    def _compare_any(self, name: str, changed: Sequence[str], rerun: "Sequence[Stage]") -> Finding:
        """Return the verdict on a stage of any repository: by metrics that it or a later stage writes."""
        import networkx as nx

        stage = self.repo.stages[name]
        dependents = {*nx.ancestors(self.repo.dvc.index.graph, stage), stage}
        compared = False
        for dependent in (candidate for candidate in rerun if candidate in dependents):
            for path in (self.repo.relative_path(out) for out in dependent.outs if out.metric):
                try:
                    committed = self._committed.read(path)
                    text = (self.repo.root / path).read_text(encoding="utf-8")
                except (UserError, OSError):
                    continue
                compared = True
                values = _parse(path, committed), _parse(path, text)
                for line in self.tolerance.outside("", *values):
                    reason = f"{changed[0]}: other bytes; {path}: {line}"
                    return Finding(name, Verdict.OUTSIDE, reason)
        if not compared:
            reason = f"{changed[0]}: other bytes, and no metric in git to compare"
            return Finding(name, Verdict.OUTSIDE, reason)
        reason = f"{changed[0]}: other bytes; all metrics within the tolerance given"
        return Finding(name, Verdict.TOLERANCE, reason)


def _artifacts(root: Path, task: str) -> "dict[str, Artifact]":
    """Return the artifacts of a task of a clone by their name in the pack."""
    from stages.kinds.params import FILE, load_params, load_tasks

    tasks = load_tasks(load_params(root / FILE))
    artifacts = tasks[task].module("artifacts").artifacts(tasks[task])
    return {artifact.packed_as: artifact for artifact in artifacts}


def _weight_disagreements(
    tables: "Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]",
) -> Iterator[str]:
    """Yield what differs by more than the rounding of another machine that runs the same weights."""
    for file, (committed, rerun) in tables.items():
        for column in committed.columns:
            if not re.fullmatch(_MODEL_COLUMNS.get(file, ""), str(column)):
                continue
            if column not in rerun or len(committed) != len(rerun):
                yield f"{file}: {column} is of other samples"
            elif _is_whole(committed[column]):
                share = float((committed[column] != rerun[column]).mean())
                if share > max(_MAX_CHANGED_LABELS, 1 / len(committed)):
                    yield (
                        f"{file}: the same weights give {share:.1%} of {len(committed)} another {column}"
                    )
            else:
                median = float((committed[column] - rerun[column]).abs().median())
                # Negated, so that NaN, which compares as false, is reported.
                if not median <= _MAX_MEDIAN_DIFFERENCE:
                    yield (
                        f"{file}: the same weights give another {column}: the median difference is "
                        f"{median:.3g}"
                    )


def _changed_predictions(
    tables: "Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]",
) -> Iterator[str]:
    """Yield which predictions of which model differ."""
    for file, (committed, rerun) in tables.items():
        columns = [
            str(name)
            for name in committed
            if _is_whole(committed[name]) and name not in _NO_PREDICTIONS
        ]
        for column in columns:
            if column not in rerun or len(committed) != len(rerun):
                yield f"{file}: {column} is of other samples"
            elif (count := int((committed[column] != rerun[column]).sum())) > 0:
                yield f"{file}: {column} differs for {count} of {len(committed)} samples"


def _is_whole(column: "pd.Series[Any]") -> bool:
    from pandas.api.types import is_integer_dtype

    return bool(is_integer_dtype(column))


def _parse(path: str, text: str) -> Any:
    """Return the metrics in a file of any repository, its text if it cannot be parsed."""
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import parse_yaml

    try:
        if path.endswith(".json"):
            return json.loads(text)
        return tomllib.loads(text) if path.endswith(".toml") else parse_yaml(text, path)
    except (ValueError, DvcException):
        return text
