"""What `evidence new` proposes for a task, from a survey of its data."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from stages.kinds.plans import Plan, SplitSizes
from stages.kinds.probe import WriteSamples

_LISTED_CLASSES = 12
NO_GROUPS = "none"  # a value of --groups
MIN_SAMPLES = 3  # of a class: one for each split
USUAL_MIN_SAMPLES = 10
_BATCHES = 10  # of an epoch, for which a batch size is large enough
_COMMENT_COLUMN = 26  # where comments in params.yaml begin, unless the value is longer
_GAINS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1)  # that a user may care about
_UNBALANCED = 4  # times the smallest class that the largest one has
ALPHA = 0.05  # 1 - evaluate.confidence of the templates


@dataclass(frozen=True)
class DataOptions:
    """What the user says about the data on the command line; None: the survey decides.

    Attributes:
        layout: of a folder of images.
        groups: images: a regular expression on the path whose first group names the group; tables: the
            column. "none" for no groups.
        text: a table's column of texts.
        label: a table's column of labels.
    """

    layout: str | None = None
    groups: str | None = None
    text: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Setting:
    """A proposed param: its key below `tasks.<name>`, its value, and the reason for it."""

    key: str
    value: str
    reason: str = ""


@dataclass(frozen=True)
class GroupHint:
    """Groups that file names suggest.

    Attributes:
        pattern: a value for `--groups`.
        description: for the user: how many groups, and some of them.
    """

    pattern: str
    description: str


@dataclass(frozen=True)
class Ladder:
    """The plans between which the time decides, and what is needed to estimate their time.

    Attributes:
        plans: from the largest network to the smallest.
        sizes: the expected size of each split.
        write_samples: writes made-up samples of the proposed shape.
        other_seconds: the estimated time for preparing the samples and fitting the baselines.
    """

    plans: Sequence[Plan]
    sizes: SplitSizes
    write_samples: WriteSamples
    other_seconds: float


@dataclass(frozen=True)
class Proposal:
    """The params of a task that depend on its data.

    A kind with `can_propose` has a module `propose` with a function `propose(path, name, options) ->
    Proposal`, and beside it `template.yaml`, the task's section of params.yaml, and `review.md`, its review
    note. Each `{placeholder}` of the templates is a key of `values`, or of each plan's; `{name}` and
    `{path}` are filled in for it, and with a ladder `{epochs}` and `{seeds}`.

    Attributes:
        values: of the placeholders, as YAML.
        data: facts about the data, for the user: subject -> fact.
        settings: the most important params that follow from them.
        remarks: what the user should decide or check.
        ladder: for a training whose length is chosen by time; None for a fixed one.
        group_hint: groups that the user may want, where no option says.
    """

    values: Mapping[str, str]
    data: Mapping[str, str]
    settings: tuple[Setting, ...]
    remarks: tuple[str, ...] = ()
    ladder: Ladder | None = None
    group_hint: GroupHint | None = None


def read_template(kind: str, file: str) -> str:
    """Return a template of a kind: `template.yaml` or `review.md`."""
    return resources.files(f"stages.kinds.{kind}").joinpath(file).read_text(encoding="utf-8")


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Return the template with its placeholders filled in, and its comments aligned."""
    lines = []
    for line in template.splitlines():
        code, mark, comment = line.partition(" # ")
        filled = code.format(**values)
        first, *rest = filled.split("\n")  # a section's lines follow that of its key
        lines += [commented_line(first, comment) if mark else first, *rest]
    return "\n".join(lines) + "\n"


def commented_line(code: str, comment: str) -> str:
    """Return a line of params.yaml with its comment where comments begin; without one, the line."""
    return f"{code.rstrip():<{_COMMENT_COLUMN - 1}} # {comment}" if comment else code


def detectable_gain(test_samples: int, regressions: float) -> float:
    """Return the smallest gain that a test set of this size detects, from 0 to 1.

    Args:
        test_samples: how many.
        regressions: `evaluate.assumed_regressions`.
    """
    from stages.evaluation.significance import smallest_detectable_gain

    return smallest_detectable_gain(regressions, test_samples, ALPHA)


def worthwhile_gain(detectable: float) -> float:
    """Return `evaluate.worthwhile_gain`: the smallest usual figure that is detectable, at most 0.1."""
    return next((gain for gain in _GAINS if gain >= detectable), _GAINS[-1])


def is_unbalanced(counts: Mapping[str, int]) -> bool:
    """Return whether the largest class has more than four times as many samples as the smallest.

    Then accuracy hides what becomes of the small classes.
    """
    return max(counts.values()) > _UNBALANCED * min(counts.values())


def common_settings(
    counts: Mapping[str, int], sizes: SplitSizes, regressions: float
) -> tuple[dict[str, str], tuple[Setting, ...]]:
    """Return the values and settings that every classifier needs: metric, worthwhile gain.

    Args:
        counts: samples by class, without official test data.
        sizes: the expected sizes of the splits.
        regressions: `evaluate.assumed_regressions` of the kind's template.
    """
    detectable = detectable_gain(sizes.test, regressions)
    gain = worthwhile_gain(detectable)
    unbalanced = is_unbalanced(counts)
    metric = "balanced_accuracy" if unbalanced else "accuracy"
    balance = (
        f"the largest class has {max(counts.values())} samples, the smallest {min(counts.values())}"
    )
    condition = ", if groups hardly differ," if sizes.folds > 1 else ""
    detection = f"about {sizes.test} test samples{condition} detect a gain of {detectable:.3f}"
    if detectable > gain:
        detection += ", no smaller one"
    values = {
        "worthwhile_gain": f"{gain:g}",
        "metric": metric,
        "class_weights": "balanced" if unbalanced else "null",
    }
    return values, (
        *([Setting("train.class_weights", "balanced", balance)] if unbalanced else []),
        Setting("evaluate.metric", metric, balance),
        Setting("evaluate.worthwhile_gain", f"{gain:g}", detection),
    )


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
