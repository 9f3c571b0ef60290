"""Image files: decoded, and fitted to one size and number of channels."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.core.errors import UserError

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def read_image_files(names: Iterable[str], params: "PrepareImages") -> np.ndarray:
    """Return image files as prepare would pack them, uint8 (n, channel, height, width).

    Raises:
        UserError: a file cannot be read.
    """
    pixels = []
    for name in names:
        try:
            image = read_image_file(Path(name), params.size, params.channels, params.max_pixels)
        except ValueError as error:
            raise UserError(f"{name}: {error}; give an image file (PNG, JPEG, ...)") from None
        pixels.append(image)
    return np.stack(pixels)


def read_image_file(path: Path, size: int, channels: int, max_pixels: int) -> np.ndarray:
    """Return the image file `path` as uint8 (channel, height, width).

    Raises:
        ValueError: it is not an image, is damaged, or claims more than `max_pixels`; the text says
            which.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's default limit is 179 million
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ValueError(  # noqa: TRY301 (raised again as it is, below)
                        f"claims {width} x {height} pixels, more than {max_pixels}"
                    )
                image.load()
                return fit_image(image, size, channels)
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


def fit_image(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """Return an image as uint8 (channel, height, width): upright, grey or colour, resized.

    Resizing is bilinear with antialiasing and does not keep the aspect ratio. 16-bit grey is scaled to
    8 bits; transparent images are composed on black.

    Raises:
        ValueError: 32-bit grey, whose range is not defined.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in {"I", "F"}:  # conversion would clip at 255
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
