"""Problems of files and rows: counted by kind, with the first few of each kind."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

_EXAMPLES = 3  # of each kind, that a line quotes


def first_few(names: Sequence[str], separator: str = ", ") -> str:
    """Return the first three names, and dots for the rest."""
    return separator.join([*names[:_EXAMPLES], *(["..."] if len(names) > _EXAMPLES else [])])


@dataclass
class ProblemKinds:
    """How many problems of each kind there are, and examples of each.

    Attributes:
        counts: problems by kind.
    """

    counts: Counter[str] = field(default_factory=Counter)
    _first: dict[str, list[str]] = field(default_factory=dict)

    def count(self, kind: str, example: str) -> None:
        """Count a problem."""
        self.counts[kind] += 1
        first = self._first.setdefault(kind, [])
        if len(first) <= _EXAMPLES:  # one more than is shown, which becomes dots
            first.append(example)

    def describe(self, limit: int | None = None) -> str:
        """Return the numbers and examples of the `limit` frequent kinds, None: of all."""
        parts = [
            f"{count} {kind} ({first_few(self._first[kind], '; ')})"
            for kind, count in self.counts.most_common(limit)
        ]
        rest = len(self.counts) - len(parts)
        return ", ".join([*parts, *([f"and {rest} more kinds of problems"] if rest else [])])
