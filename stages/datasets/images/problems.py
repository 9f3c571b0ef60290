"""What is wrong with files and rows, told in one line."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from stages.core.errors import UserError

_MAX_KINDS, _EXAMPLES = 8, 3  # kinds of problems, and names of each, that a line quotes


def first_few(names: Sequence[str], separator: str = ", ") -> str:
    """Return the first three names, and dots for the rest."""
    return separator.join([*names[:_EXAMPLES], *(["..."] if len(names) > _EXAMPLES else [])])


def count_kinds(problems: Iterable[str]) -> dict[str, int]:
    """Return the number of problems of each kind, which stands before the first colon."""
    return dict(sorted(Counter(problem.partition(":")[0] for problem in problems).items()))


def summarise_problems(problems: Iterable[tuple[str, str]]) -> str:
    """Return the number of samples with each kind of problem, and the first few of each kind.

    Args:
        problems: the name of each sample and its problem; the kind stands before the first colon.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for name, problem in problems:
        kind, colon, detail = problem.partition(":")
        kinds[kind].append(f"{name}{colon}{detail}")
    parts = [
        f"{len(samples)} {kind} ({first_few(samples, '; ')})"
        for kind, samples in sorted(kinds.items(), key=lambda item: -len(item[1]))
    ]
    rest = len(parts) - _MAX_KINDS
    ending = [f"and {rest} more kinds of problems"] if rest > 0 else []
    return ", ".join([*parts[:_MAX_KINDS], *ending])


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
