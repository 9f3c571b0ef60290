"""What the stages have measured of a task, and the few figures of it that DVC shows.

All figures are in evidence/<task>/data/metrics.json; a table with all of them would not fit a screen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from stages.core.files import read_json
from stages.core.task import Task
from stages.kinds.registry import KINDS

_OF_GAIN = ("gain", "gain_low", "gain_high", "verdict")


@dataclass(frozen=True)
class Results:
    """The results of a task.

    Attributes:
        task: of which.
        metrics: all figures, of evaluate.
        failures: the summary of the failure cases.
    """

    task: Task
    metrics: Mapping[str, Any]
    failures: Mapping[str, Any]

    @classmethod
    def of_stages(cls, task: Task) -> Self:
        """Return what the stages evaluate and failures have written.

        Raises:
            UserError: one of them has not run.
        """
        metrics = task.folder("evaluate") / "metrics.json"
        return cls._read(task, metrics, task.folder("failures") / "summary.json")

    @classmethod
    def of_pack(cls, task: Task) -> Self:
        """Return the same from the evidence pack.

        Raises:
            UserError: it has not been made.
        """
        data = task.evidence / "data"
        return cls._read(task, data / "metrics.json", data / "failure_summary.json")

    @classmethod
    def _read(cls, task: Task, metrics: Path, failures: Path) -> Self:
        return cls(task, read_json(metrics), read_json(failures))

    @property
    def metric(self) -> str:
        """Return the figure by which the verdict is reached: `macro_f1`, `frechet_test`."""
        name: str = KINDS[self.task.kind].metric or self.task.params.evaluate.metric
        return name

    def current(self) -> dict[str, Any]:
        """Return the model's metric, its gain over the baseline, the verdict and the number of failures."""
        current = self.metrics["current"]
        return {
            self.metric: current[self.metric],
            **{key: current["improvement"][key] for key in _OF_GAIN},
            "failures": self._wrong("broken"),
        }

    def baseline(self) -> dict[str, Any]:
        """Return those of the strongest baseline; failures of a generator are counted only of the model."""
        failures = {"failures": self._wrong("fixed")} if "changes" in self.failures else {}
        return {self.metric: self.metrics["baseline"][self.metric], **failures}

    def _wrong(self, change: str) -> int:
        """Return the number of wrong test samples; of a generator, of samples that fail in a named way.

        Args:
            change: of the samples that only this method gets wrong.
        """
        changes = self.failures.get("changes")  # failure cases may hold weak predictions as well
        count: int = (
            changes[change] + changes["persistent"]
            if changes
            else self.failures["failure_case_count"]
        )
        return count
