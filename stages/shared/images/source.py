"""Where images come from: digits, a folder, torchvision.

A source yields `Picture`s one by one, so that a million of them never lie in memory together.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.shared.files import read_csv
from stages.shared.packing import Origin
from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    from stages.shared.schema import PrepareImages

# SHA-256 of what scikit-learn's load_digits() gives, as uint8: 1,797 images of 8 by 8, 0 to 16.
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
DIGITS_INK = 16
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_DECODED = 2**30  # bytes of images being decoded at once


@dataclass(frozen=True)
class Picture:
    """One image from a source, or the reason why there is none.

    Attributes:
        name: what the source calls it; a file's path below its folder.
        label: its class, by name.
        group: who or what it shares with others (a writer), "" where the source does not know.
        official_test: whether the source itself hands it out as test data.
        pixels: uint8, (channel, height, width); None where it could not be read.
        problem: why it could not be read.
    """

    name: str
    label: str
    group: str = ""
    official_test: bool = False
    pixels: np.ndarray | None = None
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """A source's images, and what its dataset note says of it."""

    pictures: Iterable[Picture]
    note: Origin


def source(params: "PrepareImages") -> Source:
    """Return the source that the params name.

    Raises:
        Refusal: it is not there, is empty, or cannot be downloaded.
    """
    return {"digits": _digits, "folder": _folder, "torchvision": _torchvision}[params.source](
        params
    )


def fitted(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """Return an image as uint8 (channel, height, width), upright, grey or colour, resized.

    Resizing (bilinear, with the low-pass filter that shrinking needs) does not keep the sides'
    ratio. 16-bit grey is scaled to 8 bits; see-through pixels are laid on black.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in {"I", "F"}:  # their range is not known: clipping to 255 would blank them
        raise ValueError(
            f"32-bit grey (mode {image.mode}) has no fixed range; store it as 8 or 16 bits"
        )
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8).reshape(size, size, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_files(names: Iterable[str], params: "PrepareImages") -> np.ndarray:
    """Return image files as prepare would pack them, uint8 (n, channel, height, width).

    Raises:
        Refusal: one of them cannot be read.
    """
    pixels = []
    for name in names:
        try:
            pixels.append(read_file(Path(name), params.size, params.channels, params.max_pixels))
        except ValueError as error:
            raise Refusal(f"{name}: {error}; give an image file (PNG, JPEG, ...)") from None
    return np.stack(pixels)


def read_file(path: Path, size: int, channels: int, max_pixels: int) -> np.ndarray:
    """Return the image file `path` as uint8 (channel, height, width).

    Raises:
        ValueError: it is no image, is cut short, or claims more than `max_pixels`; says which.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's own limit would be 179 million
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ValueError(  # noqa: TRY301 (its own reason, beside the decoders')
                        f"claims {width} x {height} pixels, more than {max_pixels}"
                    )
                image.load()
                return fitted(image, size, channels)
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise ValueError("empty file" if empty else "not an image") from None
    except Image.DecompressionBombError:
        raise ValueError(f"claims more than {max_pixels} pixels") from None
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 (each decoder has errors of its own)
        raise ValueError(f"damaged: {error}") from None


def _digits(params: "PrepareImages") -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    raw = bunch.images.astype(np.uint8)
    found = hashlib.sha256(raw.tobytes() + bunch.target.astype(np.uint8).tobytes()).hexdigest()
    if found != DIGITS_SHA256:
        raise Refusal(
            f"scikit-learn's digits have SHA-256 {found}, not {DIGITS_SHA256}: another release "
            "changed them; install the pinned one with `make venv`"
        )
    writers = _writers(Path(params.path) / "writers.csv", len(raw))
    scaled = np.rint(raw * (255 / DIGITS_INK)).astype(np.uint8)
    pictures = (
        Picture(
            f"digit-{index:04}",
            str(label),
            str(writer),
            pixels=fitted(Image.fromarray(image), params.size, params.channels),
        )
        for index, (image, label, writer) in enumerate(
            zip(scaled, bunch.target, writers, strict=True)
        )
    )
    return Source(
        pictures,
        Origin(
            origin="Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998; UCI), the "
            "writer-independent test half, as scikit-learn's load_digits() carries it; the samples are "
            "in the writers' order, whose limits stand in data/raw/digits/writers.csv",
            licence="CC BY 4.0",
            label_rules="the digit that the writer was asked to write, 0 to 9",
            raw_sha256=found,
        ),
    )


def _writers(path: Path, count: int) -> np.ndarray:
    """Return who wrote each sample, (count,)."""
    if not path.is_file():
        raise Refusal(f"{path} is missing; get it back with `git checkout -- {path}`")
    table = read_csv(path, dtype={"writer": str})
    if list(table) != ["first_sample", "writer"] or table["first_sample"].dtype != np.int64:
        raise Refusal(f"{path}: must have the columns first_sample (whole numbers) and writer")
    firsts, names = table["first_sample"].to_numpy(), table["writer"].to_numpy(dtype=object)
    if len(table) == 0 or firsts[0] != 0 or firsts[-1] >= count or (np.diff(firsts) <= 0).any():
        raise Refusal(f"{path}: first_sample must rise from 0 and stay below {count}")
    if (names == "").any():
        raise Refusal(f"{path}: a writer has no name")
    writers: np.ndarray = names[np.searchsorted(firsts, np.arange(count), "right") - 1]
    return writers


def _folder(params: "PrepareImages") -> Source:
    root = Path(params.path)
    where = f"prepare.path {params.path!r}"
    if not root.is_dir():
        raise Refusal(f"{where} is not a folder; name one with a sub-folder of images a class")
    classes = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    if len(classes) < 2:  # noqa: PLR2004
        raise Refusal(
            f"{where} holds {len(classes)} sub-folders; at least 2 classes are needed, a sub-folder "
            "of images each"
        )
    files = [
        (file, name)
        for name in classes
        for file in sorted((root / name).rglob("*"))
        if (file.is_file() or not file.exists())  # a broken link is listed as unreadable
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    ]
    if not files:
        raise Refusal(f"{where}: its {len(classes)} sub-folders hold no file")
    for name in sorted(set(classes) - {name for _, name in files}):
        raise Refusal(f"class {name!r} has 0 usable images; add some, or remove its folder")
    return Source(
        _read_folder(root, files, params),
        Origin(
            origin=f"image files of the folder {params.path}",
            licence="as the owner of the files states",
            label_rules="the name of the sub-folder in which a file lies",
        ),
    )


def _read_folder(
    root: Path, files: list[tuple[Path, str]], params: "PrepareImages"
) -> Iterator[Picture]:
    pattern = re.compile(params.group_pattern) if params.group_pattern else None

    def picture(file: Path, label: str) -> Picture:
        name = file.relative_to(root).as_posix()
        match = pattern.search(name) if pattern else None
        name, label = _printed(name), _printed(label)
        if pattern and not (match and match[1]):
            return Picture(name, label, problem="no group: group_pattern does not match its path")
        group = _printed(match[1]) if match else ""
        try:
            pixels = read_file(file, params.size, params.channels, params.max_pixels)
        except ValueError as error:
            return Picture(name, label, group, problem=str(error))
        return Picture(name, label, group, pixels=pixels)

    workers = max(1, min(os.cpu_count() or 1, _DECODED // (8 * params.max_pixels)))
    with ThreadPoolExecutor(workers) as pool:  # decoding leaves Python's lock
        for start in range(0, len(files), 512):  # so that few decoded images wait to be packed
            yield from pool.map(picture, *zip(*files[start : start + 512], strict=True))


def _printed(name: str) -> str:
    """Return a file's name with what cannot be printed (a newline, a stray byte) written out."""
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in name
    )


def _torchvision(params: "PrepareImages") -> Source:
    from torchvision import datasets

    assert params.dataset is not None  # noqa: S101 (the schema holds it)
    kind = getattr(datasets, params.dataset)
    parts = []
    for train in (True, False):
        try:
            parts.append(kind(params.path, train=train, download=True))
        except (RuntimeError, OSError, ValueError, AssertionError, EOFError, KeyError) as error:
            raise Refusal(
                f"{params.dataset} could not be downloaded to {params.path} ({error}); connect to "
                "the network and run again, put the files there by hand, or choose source: digits"
            ) from None

    for part in parts:
        labels = np.asarray(part.targets)
        if len(labels) != len(part.data) or labels.min() < 0 or labels.max() >= len(part.classes):
            raise Refusal(f"{params.dataset} in {params.path}: labels do not fit; fetch it again")

    def pictures() -> Iterator[Picture]:
        # Test data first: of images that repeat, the first is kept.
        for part, dataset in zip(("test", "train"), reversed(parts), strict=True):
            for index, (image, label) in enumerate(zip(dataset.data, dataset.targets, strict=True)):
                yield Picture(
                    f"{part}-{index:05}",
                    str(dataset.classes[int(label)]),
                    official_test=part == "test",
                    pixels=fitted(Image.fromarray(np.asarray(image)), params.size, params.channels),
                )

    return Source(
        pictures(),
        Origin(
            origin=f"{params.dataset}, by torchvision's loader with its checksums; its own test half is "
            "the test split",
            licence="as the authors of the data set state",
            label_rules="the class that the data set gives",
        ),
    )
