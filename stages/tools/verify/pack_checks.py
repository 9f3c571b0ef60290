"""What the files of a pack say, held against what their sources give, computed by this project's code."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.evaluation.experiment_log import LOG
from stages.tools.tolerance import flatten
from stages.tools.verify.disagreements import Cause, Disagreement

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.report.recompute import Recomputation

_PICTURE = re.compile(r'"data:image/(?!svg)[^"]*"')  # of pixels; charts follow from the tables


def check_dataset(task: "Task", dataset: "Dataset") -> Iterator[Disagreement]:
    """Yield what is wrong with the splits and the note of the prepared samples."""
    from stages.core.files import read_json
    from stages.datasets.dataset import read_dataset

    for fold in task.folds():
        for line in cross_split_groups(read_dataset(fold)):
            yield Disagreement(Cause.SPLIT, line)
    path = task.evidence / "data" / "dataset_note.json"
    note = read_json(path)
    if note != dataset.note:
        key = next(
            key for key in {**note, **dataset.note} if note.get(key) != dataset.note.get(key)
        )
        values = repr(note.get(key)), repr(dataset.note.get(key))
        line = f"{path}: {key} is {values[0]}, the data in git give {values[1]}"
        yield Disagreement(Cause.SAMPLES, line, path.as_posix(), *values)


def cross_split_groups(dataset: "Dataset") -> Iterator[str]:
    """Yield the first group that is in several splits, if there is one."""
    if dataset.note["grouped"]:
        splits = dataset.samples.groupby("group", observed=True)["split"].nunique()
        for group in splits.index[splits > 1][:1]:
            yield f"the group {group!r} is in several splits: test samples are not independent"


def check_evaluation(task: "Task", recomputation: "Recomputation") -> Iterator[Disagreement]:
    """Yield which metrics and tables of the pack differ from those computed again."""
    from stages.core.files import read_json, to_csv

    artifacts = {artifact.name: artifact for artifact in task.module("artifacts").artifacts(task)}
    yield from _rewritten_files(task)
    path = artifacts["metrics"].pack_path(task)
    precision = recomputation.precision
    yield from differences(path, read_json(path), recomputation.metrics, precision)
    for name, table in recomputation.tables.items():
        path = artifacts[name].pack_path(task)
        content, expected = path.read_bytes(), to_csv(table)
        if content != expected:
            yield _text_disagreement(Cause.FIGURE, path.as_posix(), content, expected)


def _rewritten_files(task: "Task") -> Iterator[Disagreement]:
    """Yield the JSON files of the pack that no stage writes so: with a key twice, say."""
    from stages.core.files import read_json, to_json

    for artifact in task.module("artifacts").artifacts(task):
        path = artifact.pack_path(task)
        if path.suffix == ".json" and path.read_bytes() != to_json(read_json(path)):
            line = f"{path}: is not as the stages write it; it may have a key twice"
            yield Disagreement(Cause.PAGE, line, path.as_posix())


def differences(
    path: Path, committed: Any, recomputed: Any, precision: float = 0
) -> Iterator[Disagreement]:
    """Yield which values of a JSON file differ from those computed again.

    Args:
        path: of the file.
        committed: its content.
        recomputed: the same computed again, not rounded yet.
        precision: by how much numbers may differ.
    """
    from stages.core.files import round_floats

    before, after = flatten(committed), flatten(round_floats(recomputed))
    for key in sorted(before.keys() | after.keys()):
        values = before.get(key), after.get(key)
        is_close = (
            isinstance(values[0], float)
            and isinstance(values[1], float)
            and abs(values[0] - values[1]) <= precision
        )
        if values[0] != values[1] and not is_close:
            line = f"{path}: {key} is {values[0]!r}, computed again from the files in git {values[1]!r}"
            yield Disagreement(
                Cause.FIGURE, line, path.as_posix(), repr(values[0]), repr(values[1])
            )


def check_pack(
    task: "Task", dataset: "Dataset", recomputation: "Recomputation"
) -> Iterator[Disagreement]:
    """Yield which files of the pack differ from what its data give; pictures of pixels are left out."""
    _restore_outputs(task, dataset, recomputation)
    expected = task.module("pack").pack(task).files()
    names = {
        path.relative_to(task.evidence).as_posix()
        for path in task.evidence.rglob("*")
        if path.is_file() and path != task.evidence / LOG
    }
    for name in sorted(names ^ expected.keys()):
        is_surplus = name in names
        reason = "the pack has no such file" if is_surplus else "is missing"
        path = f"{task.evidence}/{name}"
        cause = Cause.SURPLUS if is_surplus else Cause.MISSING
        yield Disagreement(cause, f"{path}: {reason}", path)
    for name in sorted(names & expected.keys()):
        if name.startswith("pictures/") and not name.endswith(".svg"):
            continue
        content, recomputed = (task.evidence / name).read_bytes(), expected[name]
        if name.endswith(".html"):
            content, recomputed = _without_pictures(content), _without_pictures(recomputed)
        if content != recomputed:
            path = f"{task.evidence}/{name}"
            yield _text_disagreement(Cause.PAGE, path, content, recomputed)


def _restore_outputs(task: "Task", dataset: "Dataset", recomputation: "Recomputation") -> None:
    """Write the outputs of the stages from the pack, as far as it has them.

    Pixels, which git does not have, are black, and the pictures drawn from them are not compared.
    """
    import numpy as np

    from stages.core.files import write, write_all

    kind = task.module("artifacts")
    for artifact in kind.artifacts(task):
        write(artifact.path(task), artifact.pack_path(task).read_bytes())
    folder = task.folder("evaluate")
    for name, plots in (
        ("plots", recomputation.plots),
        ("baseline_plots", recomputation.baseline_plots),
    ):
        write_all(folder / name, {f"{plot}.csv": table for plot, table in plots.items()})
    for path, shapes in kind.picture_arrays(task, dataset).items():
        write(path, {name: np.zeros(shape, np.uint8) for name, shape in shapes.items()})


def _without_pictures(page: bytes) -> bytes:
    return _PICTURE.sub('""', page.decode(errors="replace")).encode()


def _text_disagreement(cause: Cause, path: str, content: bytes, expected: bytes) -> Disagreement:
    """Return where a text begins to differ from the one that its data give."""
    texts = [text.decode(errors="replace").split("\n") for text in (content, expected)]
    lines = next((pair for pair in zip(*texts, strict=False) if pair[0] != pair[1]), None)
    if lines is None:
        counts = [f"{len(text)} lines" for text in texts]
        line = f"{path}: has {counts[0]}, its data give {counts[1].split()[0]}"
        return Disagreement(cause, line, path, *counts)
    position = next(
        (index for index, pair in enumerate(zip(*lines, strict=False)) if pair[0] != pair[1]),
        min(map(len, lines)),
    )
    parts = [line[max(0, position - 30) : position + 30] for line in lines]
    line = f"{path}: says {parts[0]!r}, its data give {parts[1]!r}"
    return Disagreement(cause, line, path, *parts)


def _check_index(tasks: "Mapping[str, Task]") -> Iterator[Disagreement]:
    """Yield whether the page of all tasks says what their packs say."""
    from stages.report.index_page import PAGE, render_index

    if not PAGE.is_file():
        yield Disagreement(Cause.MISSING, f"{PAGE}: is missing", PAGE.as_posix())
        return
    content, expected = PAGE.read_bytes(), render_index(tasks.values())
    if content != expected:
        yield _text_disagreement(Cause.PAGE, PAGE.as_posix(), content, expected)


def check_comparison(
    tasks: "Mapping[str, Task]", recomputations: "Mapping[str, Recomputation]"
) -> Iterator[Disagreement]:
    """Yield what differs in the merged metrics and the plots of all tasks.

    Of tasks that were not recomputed only the names are compared.
    """
    from stages.compare import METRICS, PLOTS
    from stages.core.files import read_json, to_csv, to_json
    from stages.kinds.registry import KINDS
    from stages.kinds.results import Results

    yield from _check_index(tasks)
    merged = read_json(METRICS)
    metrics = {name: Results.of_pack(tasks[name]).current() for name in recomputations}
    reasons = [
        reason
        for name, current in metrics.items()
        for reason in differences(METRICS, {name: merged.get(name, {})}, {name: current})
    ]
    yield from reasons
    expected = {name: metrics.get(name, merged.get(name)) for name in tasks}
    if not reasons and METRICS.read_bytes() != to_json(expected):
        line = f"{METRICS}: the stage compare writes the tasks {', '.join(tasks)}, and no key twice"
        yield Disagreement(Cause.SURPLUS, line, METRICS.as_posix())
    plots = {
        PLOTS / plot / f"{name}.csv": (name, plot)
        for name, task in tasks.items()
        for plot in KINDS[task.kind].plots
    }
    files = {path for path in PLOTS.rglob("*") if path.is_file()}
    for path in sorted(files ^ plots.keys()):
        is_surplus = path in files
        reason = "the stage compare writes no such plot" if is_surplus else "is missing"
        cause = Cause.SURPLUS if is_surplus else Cause.MISSING
        yield Disagreement(cause, f"{path}: {reason}", path.as_posix())
    for path in sorted(files & plots.keys()):
        name, plot = plots[path]
        if name in recomputations:
            content, table = path.read_bytes(), to_csv(recomputations[name].plots[plot])
            if content != table:
                yield _text_disagreement(Cause.FIGURE, path.as_posix(), content, table)
