"""Samples that a submission trains on and that are test data as well, exactly or nearly.

Samples are compared as `prepare` compares them: pixels as the task's network reads them, texts without
case and white space, near duplicates by the same search. The receiver chooses the threshold.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.verify.isolation import run_isolated

if TYPE_CHECKING:
    import numpy as np

    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.datasets.ledger import PackedSamples

PACKED = {"images": "images.npy", "texts": "texts.bin"}  # by modality, as prepare names them
_THRESHOLDS = {"images": 0.05, "texts": 0.5}  # as the templates of new tasks have them
_TRAINED_ON = ("train", "validation")  # validation data choose the checkpoint


@dataclass(frozen=True)
class Overlap:
    """How many samples that a submission trains on are among test data.

    Attributes:
        trained_on: samples in training or validation splits.
        test: samples of the test data.
        exact: of the former, those that are test data.
        near: those that are near duplicates of test data, and no exact ones.
        threshold: of near duplicates.
        example: the first of them, and what it repeats, "" where there is none.
    """

    trained_on: int
    test: int
    exact: int
    near: int
    threshold: float
    example: str

    def __str__(self) -> str:
        count = f"of {self.trained_on} samples trained on"
        text = (
            f"{count}, {self.exact} are among the {self.test} of the test data and {self.near} nearly "
            f"(threshold {self.threshold:g})"
        )
        return f"{text}; the first: {self.example}" if self.example else text


def find_overlap(
    root: Path, task: str, path: Path, near_duplicate: float | None, text: str | None
) -> Overlap:
    """Return the overlap of a submission's training samples with test data, computed in isolation.

    Args:
        root: the clone of the submission.
        task: by name.
        path: of the test data: a folder of images; a table of texts, or a folder of such.
        near_duplicate: the threshold; None: 0.05 of images, 0.5 of texts.
        text: the column of the text; None: that of the submission's params.

    Raises:
        UserError: the submission has no such task, or its data or the test data cannot be read.
    """
    content = run_isolated(
        root,
        "conditions.overlap",
        "measure_overlap",
        task_name=task,
        path=str(path.absolute()),
        near_duplicate=near_duplicate,
        text=text,
    )
    return Overlap(**content)


def measure_overlap(
    folder: str, task_name: str, path: str, near_duplicate: float | None, text: str | None
) -> dict[str, Any]:
    """Return the fields of an `Overlap`; runs in the clone.

    Args:
        folder: an empty one, for packed samples.
        task_name: the task.
        path: as of `find_overlap`, like the following.
        near_duplicate: the threshold.
        text: the column of the text.
    """
    from stages.core.runtime import pin_threads
    from stages.kinds.params import load_params, load_tasks, select_task
    from stages.kinds.registry import KINDS

    params = load_params()
    pin_threads(params.runtime)  # before numpy is imported
    task = select_task(load_tasks(params), task_name)
    modality = KINDS[task.kind].modality
    packed = Path(folder) / "test" / PACKED[modality]
    dataset = prepare_again(task, Path(folder) / "prepared")
    if modality == "images":
        names = _pack_images(task, Path(path), packed, dataset.note["grey_bits"])
    else:
        names = _pack_texts(task, Path(path), packed, text)
    ids = names.samples["id"].tolist()
    return asdict(compare_with_training(task, dataset, Path(folder), packed, ids, near_duplicate))


def prepare_again(task: "Task", folder: Path) -> "Dataset":
    """Return a task's dataset, prepared by this project's code; the packed samples lie in `folder`."""
    from stages.core.files import write_all
    from stages.datasets.dataset import read_prepared

    folder.mkdir()
    write_all(folder, task.module("prepare").prepare(task, folder).files())
    return read_prepared(folder)


def compare_with_training(
    task: "Task",
    dataset: "Dataset",
    folder: Path,
    packed: Path,
    names: list[str],
    near_duplicate: float | None = None,
) -> Overlap:
    """Return how many samples that a task trains on are among packed ones.

    Args:
        task: of the submission.
        dataset: its prepared samples.
        folder: holds them packed in `prepared`; gets the pairs of both.
        packed: the other samples.
        names: of these.
        near_duplicate: the threshold; None: the default of the modality.
    """
    from stages.kinds.registry import KINDS

    modality = KINDS[task.kind].modality
    threshold = _THRESHOLDS[modality] if near_duplicate is None else near_duplicate
    rows = _rows_trained_on(dataset)
    find = _image_overlap if modality == "images" else _text_overlap
    exact, near = find(folder / "prepared" / PACKED[modality], rows, packed, threshold, folder)
    near = {place: match for place, match in near.items() if place not in exact}
    ids = dict(zip(dataset.samples["row"], dataset.samples["id"], strict=True))
    examples = (f"{ids[rows[place]]} is {names[match]}" for place, match in exact.items())
    nearly = (f"{ids[rows[place]]} is nearly {names[match]}" for place, match in near.items())
    example = next(chain(examples, nearly), "")
    return Overlap(len(rows), len(names), len(exact), len(near), threshold, example)


def _rows_trained_on(dataset: "Dataset") -> "np.ndarray":
    """Return the rows of samples that some model is trained on or chosen by, (n,)."""
    splits = [f"split_{fold}" for fold in range(dataset.folds)] if dataset.folds > 1 else ["split"]
    used = dataset.samples[splits].isin(_TRAINED_ON).any(axis=1)
    rows: np.ndarray = dataset.samples.loc[used, "row"].to_numpy(dtype="int64")
    return rows


# Images


def _pack_images(task: "Task", root: Path, packed: Path, bits: int) -> "PackedSamples":
    from stages.datasets.images.files import read_image_file
    from stages.datasets.images.folder_tree import escape, is_image_name, read_tree
    from stages.datasets.images.packed import pack_images
    from stages.datasets.images.sample import ImageSample

    params = task.params.prepare
    if not root.is_dir():
        raise UserError(f"{root}: not a folder; the test data of {task.name} must be images in one")

    def samples() -> Iterator[ImageSample]:
        for name in filter(is_image_name, read_tree(root).files):
            try:
                pixels = read_image_file(
                    root / name, params.size, params.channels, params.max_pixels, bits
                )
            except ValueError as error:
                yield ImageSample(escape(name), "", problem=str(error))
            else:
                yield ImageSample(escape(name), "", pixels=pixels)

    shape = (params.channels, params.size, params.size)
    return _require_samples(pack_images(samples(), shape, packed), root)


def _image_overlap(
    training: Path, rows: "np.ndarray", test: Path, threshold: float, folder: Path
) -> tuple[dict[int, int], dict[int, int]]:
    """Return which of `rows` are the same image as one of `test`, and which are near; as places."""
    import numpy as np

    from stages.datasets.images.duplicates import near_pairs
    from stages.datasets.images.packed import in_batches, open_packed

    images, test_images = open_packed(training), open_packed(test)
    exact = _equal(
        (images[row].tobytes() for row in rows), (image.tobytes() for image in iter(test_images))
    )
    shape = (len(rows) + len(test_images), *images.shape[1:])
    pooled = np.lib.format.open_memmap(
        folder / "pooled.npy", mode="w+", dtype=np.uint8, shape=shape
    )
    for places in in_batches(np.arange(len(rows)), images):
        pooled[places] = images[rows[places]]
    for places in in_batches(np.arange(len(test_images)), test_images):
        pooled[len(rows) + places] = test_images[places]
    pairs, _ = near_pairs(pooled, threshold, "official_test_data near_duplicate")
    return exact, _between(pairs, len(rows))


# Texts


def _pack_texts(task: "Task", path: Path, packed: Path, column: str | None) -> "PackedSamples":
    from stages.datasets.tables.reading import SUFFIXES, column_indices, open_table
    from stages.datasets.texts.packed import pack_texts
    from stages.datasets.texts.sources import TextSample

    name = column or task.params.prepare.columns.text
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.name.lower().endswith(SUFFIXES) or file == path]

    def samples() -> Iterator[TextSample]:
        for file in files:
            table = open_table(file, "separator")
            index = column_indices(table, {f"the text ({task.name})": name})[name]
            for row in table.rows():
                text = "" if row.fault else row.cells[index].strip()
                if text:
                    yield TextSample(f"{file.name} row {row.number}", text, "", "", ())

    return _require_samples(pack_texts(samples(), (), packed), path)


def _text_overlap(
    training: Path, rows: "np.ndarray", test: Path, threshold: float, _folder: Path
) -> tuple[dict[int, int], dict[int, int]]:
    """Return which of `rows` are the same text as one of `test`, and which are near; as places."""
    from stages.datasets.texts.duplicates import near_pairs
    from stages.datasets.texts.packed import PackedTexts

    texts, test_texts = PackedTexts(training), PackedTexts(test)

    def normalised(values: Iterable[str]) -> Iterator[bytes]:
        return (" ".join(text.casefold().split()).encode() for text in values)

    exact = _equal(normalised(texts.at(rows)), normalised(test_texts))
    if not threshold:
        return exact, {}
    all_texts = chain(texts.at(rows), test_texts)
    return exact, _between(near_pairs(all_texts, threshold, "near_duplicate"), len(rows))


# Both


def _require_samples(packed: "PackedSamples", path: Path) -> "PackedSamples":
    if packed.samples.empty:
        raise UserError(f"{path}: none of the test data can be read")
    return packed


def _equal(first: Iterable[bytes], second: Iterable[bytes]) -> dict[int, int]:
    """Return the places of samples whose content is also in `second`, with the place there."""
    places = {hashlib.blake2b(content).digest(): place for place, content in enumerate(second)}
    digests = (hashlib.blake2b(content).digest() for content in first)
    return {place: places[value] for place, value in enumerate(digests) if value in places}


def _between(pairs: "np.ndarray", count: int) -> dict[int, int]:
    """Return the pairs of one of the first `count` samples and one of the others, which count from 0."""
    crossing = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)]
    return {int(first): int(second) - count for first, second in crossing[::-1]}
