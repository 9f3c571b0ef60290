"""Propose the params of a task for a table of texts."""

from pathlib import Path

from stages.core.errors import UserError
from stages.datasets.texts.survey import survey_table
from stages.datasets.texts.tables import SUFFIXES
from stages.kinds.proposal import (
    MIN_SAMPLES,
    Proposal,
    describe_counts,
    min_per_class,
    training_length,
    yaml_list,
    yaml_scalar,
)

_LISTED = 5  # small classes that a message names
_TRAINING_SHARE = 0.7  # what the template's split leaves to train on


def propose(path: Path, name: str) -> Proposal:
    """Return the params of a task for a table, or a folder with one for each split.

    Which column holds what is told by its heading and its values (`columns.assign_roles`).

    Raises:
        UserError: it is no such table, or has no column of texts or none of labels.
    """
    if path.is_file() and not path.name.lower().endswith(SUFFIXES):
        raise UserError(
            f"{path}: must be a table whose name ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; "
            "images must be in a folder, with a sub-folder for each class"
        )
    key = f"tasks.{name}.prepare"
    survey = survey_table(path, key)
    roles, counts = survey.roles, survey.counts
    small = {value: count for value, count in counts.items() if count < MIN_SAMPLES}
    if small:
        listed = ", ".join(f"{value!r} {count}" for value, count in sorted(small.items())[:_LISTED])
        raise UserError(
            f"{path}: {len(small)} of {len(counts)} labels of column {roles.label.name!r} have fewer than "
            f"{MIN_SAMPLES} texts, one for each split ({listed}): add some, or remove their rows"
        )
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
    batch_size, epochs = training_length(
        int(_TRAINING_SHARE * counts.total()), (32, 16, 8), 100, (2, 20)
    )
    return Proposal(
        {
            **columns,
            "separator": survey.separator or "null",
            "classes": yaml_list([yaml_scalar(value) for value in survey.classes], 8),
            "min_per_class": str(min_per_class(counts)),
            "batch_size": str(batch_size),
            "epochs": str(epochs),
            "lengths": yaml_list([str(words) for words in sorted({*survey.words[:3]})], 8),
        },
        {
            "columns": ", ".join(column.name for column in survey.columns),
            "texts": describe_counts({value: counts[value] for value in survey.classes}, "texts"),
        },
        {
            **{f"prepare.columns.{role}": heading for role, heading in columns.items()},
            "train.model": f"minilm, {epochs} epochs, batches of {batch_size}, three seeds",
        },
        tuple(survey.remarks),
    )
