"""Pictures of samples as PNG, the same bytes for the same pixels."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

TILE = 48
_GAP = 6
_WIDE_GAP = 14


def plain(pixels: np.ndarray) -> Image.Image:
    """Return uint8 (channel, height, width) as a picture of just these pixels."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def tile(pixels: np.ndarray) -> Image.Image:
    """Return uint8 (channel, height, width) as an RGB picture of about 48 pixels a side.

    Small images grow by a whole factor, so that every pixel stays a square.
    """
    image = plain(pixels).convert("RGB")
    longest = max(image.size)
    if longest <= TILE:
        factor = TILE // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    share = TILE / longest
    return image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))))


def strip(first: np.ndarray, others: Sequence[np.ndarray]) -> bytes:
    """Return a PNG of one sample and, after a wider gap, others beside it."""
    tiles = [tile(pixels) for pixels in [first, *others]]
    width = sum(one.width + _GAP for one in tiles) - _GAP + (_WIDE_GAP if others else 0)
    sheet = Image.new("RGBA", (width, max(one.height for one in tiles)), (0, 0, 0, 0))
    x = 0
    for index, one in enumerate(tiles):
        sheet.paste(one, (x, 0))
        x += one.width + _GAP + (_WIDE_GAP if index == 0 else 0)
    return png(sheet)


def rows(groups: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Return a PNG of samples, one group a row."""
    drawn = [[tile(pixels) for pixels in group] for group in groups]
    width = max(sum(one.width + _GAP for one in group) for group in drawn) - _GAP
    heights = [max(one.height for one in group) for group in drawn]
    sheet = Image.new("RGBA", (width, sum(heights) + _GAP * (len(drawn) - 1)), (0, 0, 0, 0))
    y = 0
    for group, height in zip(drawn, heights, strict=True):
        x = 0
        for one in group:
            sheet.paste(one, (x, y))
            x += one.width + _GAP
        y += height + _GAP
    return png(sheet)


def png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
