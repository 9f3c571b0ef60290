"""Folders and files of images, and the preparation of them in process."""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages.core.files import read_csv, write_all
from stages.core.schema import PrepareImages
from stages.core.task import Task
from stages.datasets.dataset import read_prepared
from stages.datasets.images.packed import open_packed
from stages.kinds.image_classification.prepare import prepare
from support.project import default_task

DEFAULT = default_task("image")
MNIST = {"source": "torchvision", "dataset": "MNIST", "size": 28}


def noise(seed: int, size: int = 8) -> Image.Image:
    """Return an image that differs from that of every other seed in almost every pixel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    return Image.fromarray(pixels)


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    """Return an image as a file of that format."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """Return a small grey PNG whose header claims that size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def make_folder(root: Path, classes: str = "ab", count: int = 10, start: int = 0) -> Path:
    """Write `count` images of each class, the class's number `start` and on, into a sub-folder: a/0.png."""
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            noise(1000 * ord(name) + start + index).save(root / name / f"{index}.png")
    return root


def write_idx(file: Path, array: np.ndarray) -> None:
    """Write an array in the format of MNIST's files."""
    file.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    file.write_bytes(header + array.tobytes())


def make_mnist(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write a tiny MNIST where torchvision looks for it; return the training and test images."""
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (120, 40))
    for name, images in (("train", train), ("t10k", test)):
        labels = np.arange(len(images), dtype=np.uint8) % 10
        write_idx(root / f"MNIST/raw/{name}-images-idx3-ubyte", images)
        write_idx(root / f"MNIST/raw/{name}-labels-idx1-ubyte", labels)
    return train, test


def image_task(root: Path, **changes: object) -> Task:
    """Return the task `image` with the folder `root` as its source, and `changes` of prepare."""
    defaults = DEFAULT.params.prepare.model_dump()
    split = {"test": 0.3, "validation": 0.15, "seed": 0}
    changed = defaults | {"source": "folder", "path": str(root), "split": split} | changes
    params = DEFAULT.params.model_copy(update={"prepare": PrepareImages.model_validate(changed)})
    return replace(DEFAULT, params=params)


def prepare_images(root: Path, out: Path, **changes: object) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Prepare `root` as the stage does; return the samples and the note as the next stage reads them.

    The samples get two more columns: the name of their class, and their pixels.
    """
    write_all(out, prepare(image_task(root, **changes), out).files())
    dataset = read_prepared(out)
    packed = open_packed(out / "images.npy")
    names = np.array(dataset.classes, dtype=object)[dataset.samples["label"]]
    pixels = [packed[row] for row in dataset.samples["row"]]
    return dataset.samples.assign(name=names, pixels=pixels), dataset.note


def excluded_samples(out: Path) -> dict[str, tuple[str, str]]:
    """Return the reason and the detail of each sample that was left out, by its id."""
    table = read_csv(out / "excluded_samples.csv", dtype=str)
    assert table["id"].is_unique
    return {name: (reason, detail) for name, reason, detail in table.to_numpy().tolist()}


def draw_noise(
    folder: Path, classes: Sequence[str] = ("dark", "light"), count: int = 12, size: int = 30
) -> Path:
    """Write `count` images of each class as PNG: noise around a brightness of the class."""
    random = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            level = 50 + 150 * place // len(classes)
            pixels = random.integers(level, level + 60, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
