"""How many classes there may be, and names of classes that a reader could take for one another."""

import unicodedata
from collections.abc import Iterable, Iterator

from stages.core.errors import UserError

MAX_CLASSES = 1000  # in a column of labels


def require_distinct(names: Iterable[str], source: str, remedy: str) -> None:
    """Require that no two names of classes look alike, as `alike` says.

    Args:
        names: of the classes.
        source: where they stand, for the message.
        remedy: what to do, for the message.

    Raises:
        UserError: two do; the line names both, and the difference.
    """
    for difference in alike(names):
        raise UserError(f"{source}: {difference}; {remedy}")


def alike(names: Iterable[str]) -> Iterator[str]:
    """Yield what tells names of classes apart that differ only in case, blanks or Unicode form.

    Single letters may differ in case: they are the classes of many data sets of characters.
    """
    first: dict[str, str] = {}
    for name in sorted(set(names)):
        previous = first.setdefault(_appearance(name), name)
        if previous != name:
            yield (
                f"the classes {previous!r} and {name!r} differ only in {_difference(previous, name)}"
            )


def _appearance(name: str) -> str:
    normal = unicodedata.normalize("NFKC", _visible(name))
    return normal if len(normal) == 1 else "".join(normal.casefold().split())


def _visible(name: str) -> str:
    """Return a name without its invisible characters, such as a blank without width."""
    return "".join(c for c in name if unicodedata.category(c) != "Cf")


def _difference(first: str, second: str) -> str:
    if _visible(first) == _visible(second):
        return "invisible characters"
    if first.casefold() == second.casefold():
        return "case"
    if first.split() == second.split() or "".join(first.split()) == "".join(second.split()):
        return "blanks"
    forms = [unicodedata.normalize("NFKC", name) for name in (first, second)]
    return "Unicode form" if forms[0] == forms[1] else "case, blanks or Unicode form"
