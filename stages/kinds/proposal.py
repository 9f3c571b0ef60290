"""What `evidence new` proposes for a task, from a survey of its data."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LISTED_CLASSES = 12
MIN_SAMPLES = 3  # of a class: one for each split
USUAL_MIN_SAMPLES = 10
_BATCHES = 10  # of an epoch, for which a batch size is large enough


@dataclass(frozen=True)
class Proposal:
    """The params of a task that depend on its data.

    A kind with `can_propose` has a module `propose` with a function `propose(path, name) -> Proposal`, and
    beside it `template.yaml`, the task's section of params.yaml, and `review.md`, its review note. Each
    `{placeholder}` of the templates is a key of `values`; `{name}` and `{path}` are filled in for it.

    Attributes:
        values: of the placeholders, as YAML.
        data: facts about the data, for the user: subject -> fact.
        settings: the most important params that follow from them, below `tasks.<name>`: key -> value.
        remarks: what the user should decide or check.
    """

    values: Mapping[str, str]
    data: Mapping[str, str]
    settings: Mapping[str, str]
    remarks: tuple[str, ...] = ()


def yaml_scalar(value: str) -> str:
    """Return a text as a YAML scalar, quoted where it would be read as something else."""
    plain = re.fullmatch(r"[A-Za-z_./][\w./-]*( [\w./-]+)*", value, re.ASCII)
    reserved = value.lower() in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
    number = re.fullmatch(r"[-+.\d].*|\.?(inf|nan)", value, re.IGNORECASE)
    path = value.startswith(("./", "../"))
    if plain and not reserved and (path or not number):
        return value
    return "".join(
        c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(value, ensure_ascii=False)
    )


def yaml_list(items: list[str], indent: int) -> str:
    """Return YAML scalars as the lines of a block list."""
    return "\n".join(f"{' ' * indent}- {item}" for item in items)


def min_per_class(counts: Mapping[str, int]) -> int:
    """Return `prepare.min_per_class` for classes of these sizes."""
    return USUAL_MIN_SAMPLES if min(counts.values()) > USUAL_MIN_SAMPLES else MIN_SAMPLES


def training_length(
    samples: int, batch_sizes: Sequence[int], steps: int, epochs: tuple[int, int]
) -> tuple[int, int]:
    """Return the batch size and the epochs for about `samples` training samples.

    Args:
        samples: in the training split, about.
        batch_sizes: to choose from, the largest first; the first that makes `_BATCHES` batches is taken.
        steps: to be taken in all.
        epochs: the least and the greatest number.
    """
    size = next((size for size in batch_sizes if samples >= _BATCHES * size), batch_sizes[-1])
    min_epochs, max_epochs = epochs
    needed = -(-steps // max(1, samples // size))
    return size, min(max(needed, min_epochs), max_epochs)


def describe_counts(counts: Mapping[str, int], noun: str) -> str:
    """Return the classes and their sizes in words; of many classes, the largest ones."""
    names = (
        sorted(counts, key=lambda name: (-counts[name], name))
        if len(counts) > _LISTED_CLASSES
        else counts
    )
    listed = ", ".join(f"{name} {counts[name]}" for name in [*names][:_LISTED_CLASSES])
    rest = f", and {len(counts) - _LISTED_CLASSES} more" if len(counts) > _LISTED_CLASSES else ""
    return f"{sum(counts.values())} {noun} in {len(counts)} classes: {listed}{rest}"
