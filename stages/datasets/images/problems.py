"""What is wrong with files and rows, told in one line."""

from collections import Counter
from collections.abc import Iterable

from stages.core.errors import UserError
from stages.datasets.problem_kinds import ProblemKinds

_MAX_KINDS = 8  # of problems, that a line names


def count_kinds(problems: Iterable[str]) -> dict[str, int]:
    """Return the number of problems of each kind, which stands before the first colon."""
    return dict(sorted(Counter(problem.partition(":")[0] for problem in problems).items()))


def summarise_problems(problems: Iterable[tuple[str, str]]) -> str:
    """Return the number of samples with each kind of problem, and the first few of each kind.

    Args:
        problems: the name of each sample and its problem; the kind stands before the first colon.
    """
    kinds = ProblemKinds()
    for name, problem in problems:
        kind, colon, detail = problem.partition(":")
        kinds.count(kind, f"{name}{colon}{detail}")
    return kinds.describe(_MAX_KINDS)


def refuse_problems(problems: list[tuple[str, str]], path: str, key: str) -> None:
    """Refuse a source if any of its samples has a problem, and tell them all in one line.

    Args:
        problems: the name of each sample that cannot be used, and why.
        path: of the source.
        key: of the param that allows to continue without them.

    Raises:
        UserError: there is one.
    """
    if problems:
        raise UserError(
            f"{path}: {len(problems)} files or rows cannot be used: {summarise_problems(problems)}; "
            f"repair or remove them, or set {key}: list to continue without them"
        )
