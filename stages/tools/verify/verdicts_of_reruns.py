"""The verdict on stages that were run again: their outputs compared with what is committed."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.repositories import git_in_clone
from stages.tools.tolerance import Difference, Tolerance
from stages.tools.verify.disagreements import Cause, Disagreement
from stages.tools.verify.lock import LockedRepo
from stages.tools.verify.machines import Machines
from stages.tools.verify.pipeline import verifiable_tasks
from stages.tools.verify.prediction_columns import (
    PREDICTION_TABLES,
    changed_predictions,
    weight_disagreements,
)
from stages.tools.verify.recompute import DAMAGED
from stages.tools.verify.running import Failure, Rerun
from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from dvc.stage import Stage

    from stages.report.artifacts import Artifact

# The stages of a task that run a network or fit a model, where another machine may round differently.
# Any other stage gives the same bytes if all that it reads is as committed.
_NUMERIC = {"check", "baseline", "train", "evaluate"}


class Committed:
    """The files of a clone as they are in git, whatever the folder holds now."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> str:
        """Return the text of a file.

        Raises:
            UserError: it is not in git.
        """
        try:
            return git_in_clone(self.root, "show", f"HEAD:{path}")
        except UserError:
            raise UserError(f"{path} is not in git") from None


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
        rerun: Rerun,
        *,
        same_weights: bool = False,
    ) -> list[Finding]:
        """Return the verdict on each stage.

        Args:
            rerun: the stages that were to be run again.
            same_weights: whether the stored weights were used. Then the tolerance, which covers other
                training seeds, does not apply to what follows from the weights alone.
        """
        changed: dict[str, list[str]] = {}
        findings = []
        for name in rerun.stages:
            if name in rerun.tampering:
                findings.append(_outside(name, rerun.tampering[name]))
            if name in rerun.failures:
                findings.append(self._failure_verdict(name, rerun.failures[name]))
                continue
            outputs = rerun.outputs[name]
            if outputs.missing:
                reason = f"it did not write {outputs.missing[0]}"
                findings.append(Finding(name, Verdict.UNCHECKED, reason))
            elif outputs.differing:
                changed[name] = outputs.differing
            elif outputs.same_text:
                reason = f"{outputs.same_text[0]}: the same text with other line ends"
                findings.append(Finding(name, Verdict.SAME, reason))
            else:
                findings.append(Finding(name, Verdict.BITWISE))
        tasks = set(verifiable_tasks(self.repo))
        run_again = [self.repo.stages[name] for name in rerun.outputs]
        for name, paths in changed.items():
            stage, _, task = name.partition("@")
            if task in tasks:
                finding = self._compare_task(stage, task, changed, same_weights=same_weights)
            elif name == "compare" and tasks:
                finding = self._compare_merged(paths, changed)
            else:
                finding = self._compare_any(name, paths, run_again)
            findings.append(finding)
        return findings

    def _failure_verdict(self, name: str, failure: Failure) -> Finding:
        if failure.contradicts or self._has_failed_checks(name):
            return _outside(name, failure.reason)
        return Finding(name, Verdict.UNCHECKED, failure.reason)

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
            return _outside(name, f"{differing[name][0]}: {reason}", differing[name][0])
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
            return _outside(name, "checks.json: other checks pass when it is run again")
        return Finding(
            name, Verdict.SAME, "the same checks pass; figures differ in their last digits"
        )

    def _compare_results(self, name: str, task: str, *, same_weights: bool) -> Finding:
        artifacts = _artifacts(self.repo.root, task)
        metrics = [json.loads(text) for text in self._read_both(artifacts["metrics.json"], task)]
        tables = {
            file: self._read_tables(artifacts[file], task)
            for file in PREDICTION_TABLES
            if file in artifacts
        }
        folder = f"evidence/{task}/data"
        for line in weight_disagreements(tables) if same_weights else ():
            cause = Cause.PREDICTIONS
            return Finding.outside(name, Disagreement(cause, f"{folder}/{line}", folder))
        for difference in self.tolerance.outside(task, *metrics):
            path = f"{folder}/metrics.json"
            return Finding.outside(name, _metric_disagreement(path, difference))
        largest = self.tolerance.largest(task, *metrics)
        changed = next(changed_predictions(tables), "")
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

    def _compare_merged(
        self, changed: Sequence[str], differing: Mapping[str, list[str]]
    ) -> Finding:
        """Return the verdict on the stage compare, which merges the results of all tasks."""
        for task in verifiable_tasks(self.repo):
            evaluation = f"evaluate@{task}"
            if evaluation in differing or any_difference(self.repo, evaluation):
                reason = f"it merges the results of {evaluation}, which differ"
                return Finding("compare", Verdict.TOLERANCE, reason)
        reason = f"{changed[0]}: run again on the same inputs, it gives another one"
        return _outside("compare", reason, changed[0])

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
                for difference in self.tolerance.outside("", *values):
                    prefix = f"{changed[0]}: other bytes; {path}"
                    return Finding.outside(name, _metric_disagreement(path, difference, prefix))
        if not compared:
            reason = f"{changed[0]}: other bytes, and no metric in git to compare"
            return _outside(name, reason, changed[0])
        reason = f"{changed[0]}: other bytes; all metrics within the tolerance given"
        return Finding(name, Verdict.TOLERANCE, reason)


def _outside(stage: str, line: str, path: str = "") -> Finding:
    return Finding.outside(stage, Disagreement(Cause.RERUN, line, path))


def _metric_disagreement(path: str, difference: Difference, prefix: str = "") -> Disagreement:
    values = [str(value) for value in (difference.committed, difference.rerun)]
    return Disagreement(Cause.RERUN, f"{prefix or path}: {difference}", path, *values)


def any_difference(repo: LockedRepo, name: str) -> bool:
    """Return whether the outputs of a stage, as they are now, are not those of dvc.lock."""
    outputs = repo.compare_outputs(name)
    return bool(outputs.differing or outputs.missing)


def _artifacts(root: Path, task: str) -> "dict[str, Artifact]":
    """Return the artifacts of a task of a clone by their name in the pack."""
    from stages.kinds.params import FILE, load_params, load_tasks

    tasks = load_tasks(load_params(root / FILE))
    artifacts = tasks[task].module("artifacts").artifacts(tasks[task])
    return {artifact.packed_as: artifact for artifact in artifacts}


def _parse(path: str, text: str) -> Any:
    """Return the metrics in a file of any repository, its text if it cannot be parsed."""
    from stages.core.params import parse_yaml

    try:
        if path.endswith(".json"):
            return json.loads(text)
        return tomllib.loads(text) if path.endswith(".toml") else parse_yaml(text)
    except (ValueError, RecursionError):
        return text
