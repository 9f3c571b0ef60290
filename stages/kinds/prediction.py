"""What a model predicts for one input of a user."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """A prediction. Each kind has a module `predict` with `predict(task, inputs)`, which yields them.

    Attributes:
        input: as the user gave it.
        probabilities: of each class, by name.
        details: what else is to be said, by name: the words behind it.
        warning: why it may be worth little, "" where nothing is unusual.
    """

    input: str
    probabilities: Mapping[str, float]
    details: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""

    def ranked(self) -> list[tuple[str, float]]:
        """Return the classes with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda pair: -pair[1])
