"""The result of a check, and of all checks of a task."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from stages.core.files import Content

_COLUMNS = ["layer", "kind", "output_shape", "parameters"]


@dataclass(frozen=True)
class Check:
    """A check's name, whether it passed, and the values that it observed."""

    name: str
    passed: bool
    observed: str


@dataclass(frozen=True)
class CheckResults:
    """The results of all checks of a task.

    Attributes:
        checks: each check's result.
        shapes: the shape of every layer's output; empty where the network was not checked.
        extra_files: further files to write, by name.
    """

    checks: list[Check]
    shapes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_COLUMNS))
    extra_files: "dict[str, Content]" = field(default_factory=dict)

    def files(self) -> "dict[str, Content]":
        """Return the files to write."""
        rows = [
            {"check": check.name, "passed": check.passed, "observed": check.observed}
            for check in self.checks
        ]
        return {"checks.json": rows, "shapes.csv": self.shapes, **self.extra_files}
