"""The samples that one of two revisions alone gets right, as the packs show them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stages.core.errors import UserError
from stages.tools.compare.packs import Pack
from stages.tools.compare.sample_pictures import find_pictures

_MOST_WORDS = 80  # of a text
_PASSES = "passes"


@dataclass(frozen=True)
class Sample:
    """A sample that one revision alone gets right: a test sample, or a generated one that passes.

    Attributes:
        id: of the sample.
        label: its true class.
        before: what the first revision predicts.
        after: what the second one predicts.
        details: how sure the wrong one is, and the likely cause.
        words: of a text, with their weights from -1 to 1; none for an image.
        picture: PNG; b"" where the pack's page has none.
    """

    id: str
    label: str
    before: str
    after: str
    details: str
    words: Sequence[tuple[str, float]]
    picture: bytes


def changed_samples(rows: Sequence[Mapping[str, str]], wrong: str, pack: Pack) -> list[Sample]:
    """Return samples, those first about which the revision that is wrong is surest.

    Args:
        rows: id, label, a, b.
        wrong: which of a and b is wrong.
        pack: of the revision that is wrong; they are among its failure cases.
    """
    cases = {row.get("id", ""): row for row in pack.rows("data/failure_cases.csv")}
    weights: Mapping[str, Any] = {}
    with suppress(UserError):
        weights = pack.revision.read_json(f"{pack.folder}/driving_words.json")
    pictures = find_pictures(pack.page(), (row["id"] for row in rows))
    samples = []
    for row in rows:
        case = cases.get(row["id"], {})
        sure = _number(case.get("confidence", ""))
        details = [f"{row[wrong]} with confidence {100 * sure:.1f}%"] if sure else []
        details += [f"likely cause: {case['cause']}"] if case.get("cause") else []
        words = _words(case.get("text", ""), weights.get(row["id"]))
        samples.append(
            (
                -sure,
                Sample(
                    row["id"],
                    row["label"],
                    row["a"],
                    row["b"],
                    "; ".join(details),
                    words,
                    pictures.get(row["id"], b""),
                ),
            )
        )
    return [sample for _, sample in sorted(samples, key=lambda item: (item[0], item[1].id))]


def _number(text: str) -> float:
    """Return a share in a table, 0 for anything else."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 <= number <= 1 else 0.0


def _words(text: str, weights: Any) -> list[tuple[str, float]]:
    """Return the first words of a text, with weights as shares of the largest where these are known."""
    try:
        words = [(str(word), float(weight)) for word, weight in weights]
    except (TypeError, ValueError):
        words = [(word, 0.0) for word in text.split()]
    largest = max((abs(weight) for _, weight in words), default=0.0)
    scale = largest if 0 < largest < float("inf") else 1.0
    scaled = [(word, weight / scale) for word, weight in words[:_MOST_WORDS]]
    rest = len(words) - len(scaled)
    return [*scaled, (f"[{rest:,} more words]", 0.0)] if rest else scaled


def changed_generated(before: Pack, after: Pack) -> tuple[list[Sample], list[Sample]]:
    """Return the generated samples that fail in the first, and in the second revision alone.

    Samples of one id are drawn from the same noise. Both lists are empty where a pack does not have all
    of its cases.
    """
    cases = [_failing_cases(pack) for pack in (before, after)]
    if None in cases:
        return [], []
    first, second = (rows or {} for rows in cases)
    return (
        _generated(first, second, before, is_fixed=True),
        _generated(second, first, after, is_fixed=False),
    )


def _failing_cases(pack: Pack) -> dict[str, Mapping[str, str]] | None:
    """Return the failure cases of a generator by id; None where the table does not have all of them."""
    rows = [row for row in pack.rows("data/failure_cases.csv") if row.get("kind") == "fails"]
    cases: dict[str, Mapping[str, str]] = {}
    for row in rows:
        cases.setdefault(row.get("id", ""), row)
    with suppress(UserError):
        summary = pack.revision.read_json(f"{pack.folder}/failure_summary.json")
        return cases if summary.get("failure_case_count") == len(cases) else None
    return None


def _generated(
    cases: Mapping[str, Mapping[str, str]],
    counterparts: Mapping[str, Mapping[str, str]],
    pack: Pack,
    *,
    is_fixed: bool,
) -> list[Sample]:
    """Return the samples that are among the cases of a pack and not among those of the other one."""
    changed = {name: row for name, row in cases.items() if name not in counterparts}
    captions = {name: f"{name} {row.get('bucket', '')}" for name, row in changed.items()}
    pictures = find_pictures(pack.page(), [*captions, *captions.values()])
    samples = []
    for name, row in changed.items():
        results = (row.get("bucket", ""), _PASSES)
        before, after = results if is_fixed else results[::-1]
        picture = pictures.get(captions[name]) or pictures.get(name, b"")
        details = row.get("cause", "")
        samples.append(Sample(name, row.get("true", ""), before, after, details, (), picture))
    return samples
