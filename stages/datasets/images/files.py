"""Image files: decoded, and fitted to one size and number of channels."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.core.errors import UserError
from stages.core.progress import progress

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages

FULL_DEPTH = 16  # bits
_LEAST_DEPTH = 8
SURVEY_PIXELS = (
    50_000_000  # that a file may claim, for one that is read before the params are known
)
LEAST_SIDE = 4  # pixels of the longer side; smaller images show nothing
_AHEAD = 512  # files that threads read ahead
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
Item = TypeVar("Item")
Result = TypeVar("Result")


class UnknownDepthError(ValueError):
    """A 16-bit grey file cannot be scaled before the depth of its data set is known."""


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> Iterator[Result]:
    """Yield the result of each item, in order; a few hundred are computed ahead, not all."""
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(items), _AHEAD):
            yield from pool.map(function, items[start : start + _AHEAD])


class GreyDepth:
    """How many bits the 16-bit grey files of a data set use.

    Microscopes and X-ray detectors store 10, 12 or 14 bits in 16-bit files. Scaled by the full 16 bits
    such images would be nearly black; each scaled by its own range, they could not be compared. So all are
    scaled by the smallest number of bits that holds every value of the data set.

    Args:
        root: the folder of the data set.
        paths: of its image files, below it; they are read when the first 16-bit file asks for the depth.
        max_pixels: files that claim more do not count.
    """

    def __init__(self, root: Path, paths: Sequence[str], max_pixels: int) -> None:
        self._root, self._paths = root, paths
        self._max_pixels, self._lock = max_pixels, Lock()

    def bits_in_use(self) -> int | None:
        """Return the number of bits, None where no file asked for it: there is no 16-bit grey file."""
        return self.__dict__.get("_bits")

    def bits(self) -> int:
        """Return the number of bits, from 8 to 16."""
        with self._lock:  # one thread reads the files, the others wait
            return self._bits

    @cached_property
    def _bits(self) -> int:
        values = map_in_threads(self._greatest, self._paths, min(os.cpu_count() or 1, 4))
        greatest = max(progress(values, "looking for the bits in use", len(self._paths)), default=0)
        return max(_LEAST_DEPTH, greatest.bit_length())

    def _greatest(self, path: str) -> int:
        """Return the greatest value of a 16-bit grey file, 0 for any other."""
        try:
            with Image.open(self._root / path, formats=FORMATS) as image:
                if image.mode.startswith("I;16") and image.width * image.height <= self._max_pixels:
                    return int(np.asarray(image, dtype=np.uint16).max())
        except Exception:  # noqa: BLE001 (each decoder raises its own types; reading lists it)
            return 0
        return 0


def read_image_files(
    names: Iterable[str], params: "PrepareImages", bits: int = FULL_DEPTH
) -> np.ndarray:
    """Return image files as prepare would pack them, uint8 (n, channel, height, width).

    Args:
        names: of the files.
        params: of the stage prepare.
        bits: by which 16-bit grey files are scaled: `grey_bits` of the dataset note.

    Raises:
        UserError: a file cannot be read.
    """
    pixels = []
    for name in names:
        try:
            image = read_image_file(
                Path(name), params.size, params.channels, params.max_pixels, bits
            )
        except ValueError as error:
            raise UserError(f"{name}: {error}; give an image file (PNG, JPEG, ...)") from None
        pixels.append(image)
    return np.stack(pixels)


def read_image_file(
    path: Path, size: int, channels: int, max_pixels: int, depth: GreyDepth | int = FULL_DEPTH
) -> np.ndarray:
    """Return the image file `path` as uint8 (channel, height, width), as `read_first_frame` does."""
    return read_first_frame(path, size, channels, max_pixels, depth)[0]


def read_first_frame(
    path: Path,
    size: int,
    channels: int,
    max_pixels: int,
    depth: GreyDepth | int | None = FULL_DEPTH,
) -> tuple[np.ndarray, bool]:
    """Return the image file `path` as uint8 (channel, height, width), and whether it has further frames.

    `depth` scales 16-bit grey; None: it is not known.

    Raises:
        UnknownDepthError: it is 16-bit grey, whose depth is not known.
        ValueError: it is not an image, is damaged, has a longer side of less than 4 pixels, or claims
            more than `max_pixels`; the text says which.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device may never end
            raise ValueError("not a file" if path.is_dir() else "a pipe, socket or device")  # noqa: TRY301
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's default limit is 179 million
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ValueError(  # noqa: TRY301 (raised again as it is, below)
                        f"claims {width} x {height} pixels, more than {max_pixels}"
                    )
                if max(width, height) < LEAST_SIDE:
                    raise ValueError(  # noqa: TRY301
                        f"too small: {width} x {height} pixels, the longer side needs {LEAST_SIDE}"
                    )
                image.load()
                bits = _bits(image, depth)
                return fit_image(image, size, channels, bits), _has_further_frames(image)
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise ValueError("empty file" if empty else "not an image") from None
    except Image.DecompressionBombError:
        raise ValueError(f"claims more than {max_pixels} pixels") from None
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 (each decoder raises its own types)
        raise ValueError(f"damaged: {error}") from None


def _bits(image: Image.Image, depth: GreyDepth | int | None) -> int:
    if isinstance(depth, int):
        return depth
    if not image.mode.startswith("I;16"):
        return FULL_DEPTH  # not used
    if depth is None:
        raise UnknownDepthError
    return depth.bits()


def _has_further_frames(image: Image.Image) -> bool:
    try:
        return getattr(image, "n_frames", 1) > 1
    except Exception:  # noqa: BLE001 (each decoder raises its own types)
        return True  # they are damaged


def fit_image(image: Image.Image, size: int, channels: int, bits: int = FULL_DEPTH) -> np.ndarray:
    """Return an image as uint8 (channel, height, width): upright, grey or colour, resized.

    Resizing is bilinear with antialiasing and does not keep the aspect ratio. 16-bit grey that uses
    `bits` bits is scaled to 8 bits, greater values to 255; transparent images are composed on black.

    Raises:
        ValueError: 32-bit grey, whose range is not defined.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in {"I", "F"}:  # conversion would clip at 255
        raise ValueError(
            f"32-bit grey (mode {image.mode}) has no fixed range; store it as 8 or 16 bits"
        )
    if image.mode.startswith("I;16"):
        scaled = np.asarray(image, dtype=np.uint16) >> (bits - _LEAST_DEPTH)
        image = Image.fromarray(scaled.clip(max=255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8).reshape(size, size, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
