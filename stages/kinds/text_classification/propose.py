"""Propose the params of a task for a table of texts."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from stages.core.errors import UserError
from stages.datasets.tables.reading import SUFFIXES
from stages.datasets.texts.columns import Column
from stages.datasets.texts.packed import pack_texts
from stages.datasets.texts.sources import TextSample
from stages.datasets.texts.survey import TableSurvey, survey_table
from stages.kinds.plans import Plan, SplitSizes
from stages.kinds.probe import write_dataset
from stages.kinds.proposal import (
    MIN_SAMPLES,
    NO_GROUPS,
    DataOptions,
    Ladder,
    Proposal,
    Setting,
    common_settings,
    describe_counts,
    min_per_class,
    training_length,
    yaml_list,
    yaml_scalar,
)
from stages.kinds.split_proposal import propose_split
from stages.kinds.text_classification.word_budget import weighing_seconds

_LISTED = 5  # small classes that a message names
_REGRESSIONS = 0.05  # evaluate.assumed_regressions of the template
_SAMPLE_TEXTS = 1000
_TOKEN_QUANTILE = 0.95
_TOKEN_STEP = 16  # tokens; train.max_tokens is a multiple
_MOST_TOKENS = 256
_FEW = 2000  # training texts, below which the lower layers stay as they are
# Trained layers, learning rate, label smoothing and dropout, epochs (docs/log.md, 2026-11-22 to 26).
_RECIPES = ((6, 0.00006, 0.1, 3), (2, 0.0004, 0.0, 2), (1, 0.0004, 0.0, 2))
_PREPARING_SECONDS = 5e-4  # of one text: packing it, looking for its near duplicates
_BASELINE_SECONDS = 2e-3  # of one training text, for the linear models
_EMBEDDING_SECONDS = 4e-3  # of one training text, for frozen MiniLM
_MOST_EMBEDDED = 5_000  # baseline.frozen_minilm.max_samples of the template
_MOST_WEIGHED = (
    212  # failures.explain and failures.show of the template: texts whose words are weighed
)


def propose(path: Path, name: str, options: DataOptions) -> Proposal:
    """Return the params of a task for a table, or a folder with one for each split.

    Which column holds what is told by its heading and its values (`columns.assign_roles`), or by the
    options.

    Raises:
        UserError: it is no such table, has no column of texts or none of labels, or lacks a column that
            the options name.
    """
    if path.is_file() and not path.name.lower().endswith(SUFFIXES):
        raise UserError(
            f"{path}: must be a table whose name ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; "
            "images must be in a folder, with a sub-folder for each class"
        )
    survey = survey_table(path, f"tasks.{name}.prepare", _chosen_columns(options))
    roles, counts = survey.roles, survey.counts
    _require_class_sizes(counts, roles.label.name, path)
    columns = {
        role: "null" if column is None else yaml_scalar(column.name)
        for role, column in (
            ("text", roles.text),
            ("label", roles.label),
            ("id", roles.id),
            ("group", roles.group),
            ("split", roles.split),
        )
    }
    split = propose_split(counts.total() + survey.official["test"], survey.official, survey.groups)
    sizes = split.sizes
    values, settings = common_settings(counts, sizes, _REGRESSIONS)
    texts = _sample_texts(roles.text)
    max_tokens, tokens_reason = _max_tokens(texts)
    return Proposal(
        {
            **columns,
            **values,
            "split_section": split.section,
            "separator": survey.separator or "null",
            "classes": yaml_list([yaml_scalar(value) for value in survey.classes], 8),
            "min_per_class": str(min_per_class(counts)),
            "max_tokens": str(max_tokens),
            "lengths": yaml_list([str(words) for words in sorted({*survey.words[:3]})], 8),
        },
        _facts(survey),
        (
            *(Setting(f"prepare.columns.{role}", heading) for role, heading in columns.items()),
            split.setting,
            *settings,
            Setting("train.max_tokens", str(max_tokens), tokens_reason),
        ),
        (*survey.remarks, *split.remarks),
        Ladder(
            plans(sizes),
            sizes,
            partial(write_sampled_texts, texts=texts, classes=survey.classes),
            _other_seconds(counts.total(), sizes)
            + weighing_seconds(texts, min(_MOST_WEIGHED, sizes.test), max_tokens),
        ),
    )


def plans(sizes: SplitSizes) -> list[Plan]:
    """Return the plans for texts, from the largest number of trained layers to the smallest."""
    few = sizes.train < _FEW
    batch_size, epochs = training_length(sizes.train, (32, 16, 8), 100 if few else 0, (2, 20))
    recipes = _RECIPES[1:] if few else _RECIPES
    return [
        Plan(
            f"minilm, {layers} of its layers trained, batches of {batch_size}",
            {
                "train_layers": str(layers),
                "batch_size": str(batch_size),
                "learning_rate": f"{rate:f}".rstrip("0"),
                "label_smoothing": f"{regularisation:g}",
                "dropout": f"{regularisation:g}",
            },
            epochs if few else most_epochs,
            min_epochs=min(2, most_epochs),
        )
        for layers, rate, regularisation, most_epochs in recipes
    ]


def write_sampled_texts(
    folder: Path, training: int, validation: int, *, texts: Sequence[str], classes: list[str]
) -> None:
    """Write texts of the table, with made-up labels, as the stage prepare writes texts.

    Args:
        folder: of the stage prepare.
        training: number of training texts.
        validation: number of validation texts.
        texts: to write; each gets a number, as they may repeat.
        classes: the names of the labels.
    """
    samples = (
        TextSample(str(number), f"{number} {text}", classes[0], group="", slices=())
        for number, text in zip(range(training + validation), cycle(texts), strict=False)
    )
    pack_texts(samples, (), folder / "texts.bin")
    write_dataset(folder, classes, training, validation)


def _other_seconds(texts: int, sizes: SplitSizes) -> float:
    """Return the estimated time of preparing the texts and fitting the baselines of each fold."""
    embedding = _EMBEDDING_SECONDS * min(sizes.train, _MOST_EMBEDDED)
    baselines = _BASELINE_SECONDS * sizes.train + embedding
    return _PREPARING_SECONDS * texts + sizes.folds * baselines


def _chosen_columns(options: DataOptions) -> dict[str, str | None]:
    """Return the columns that the options name, by their role; None for no groups."""
    named = {"text": options.text, "label": options.label, "group": options.groups}
    return {
        role: None if role == "group" and heading == NO_GROUPS else heading
        for role, heading in named.items()
        if heading is not None
    }


def _require_class_sizes(counts: Mapping[str, int], heading: str, path: Path) -> None:
    small = {value: count for value, count in counts.items() if count < MIN_SAMPLES}
    if small:
        listed = ", ".join(f"{value!r} {count}" for value, count in sorted(small.items())[:_LISTED])
        raise UserError(
            f"{path}: {len(small)} of {len(counts)} labels of column {heading!r} have fewer than "
            f"{MIN_SAMPLES} texts, one for each split ({listed}): add some, or remove their rows"
        )


def _facts(survey: TableSurvey) -> dict[str, str]:
    return {
        "columns": ", ".join(column.name for column in survey.columns),
        "texts": describe_counts(
            {value: survey.counts[value] for value in survey.classes}, "texts"
        ),
    }


def _sample_texts(column: Column) -> list[str]:
    """Return at most `_SAMPLE_TEXTS` of a column's texts, from all over the table."""
    texts = [text for text in column.values if text]
    return texts[:: -(-len(texts) // _SAMPLE_TEXTS)]


def _max_tokens(texts: Sequence[str]) -> tuple[int, str]:
    """Return the length in tokens that 95% of the texts do not exceed, within limits, and the reason."""
    from stages.kinds.text_classification.tokens import whole_lengths

    lengths = whole_lengths(texts)
    needed = int(np.quantile(lengths, _TOKEN_QUANTILE))
    tokens = min(_MOST_TOKENS, -(-needed // _TOKEN_STEP) * _TOKEN_STEP)
    share = float((lengths > tokens).mean())
    return tokens, f"{share:.0%} of the sampled texts are longer and cut off"
