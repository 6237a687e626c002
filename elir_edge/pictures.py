"""Grids of images with labels, for people."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_GAP = 4
_LABEL_HEIGHT = 16


def grid(rows: Sequence[Sequence[NDArray[np.uint8]]], labels: Sequence[str]) -> Image.Image:
    """Arrange images in rows below one line of column labels.

    Args:
        rows: uint8 images (H, W, 3), one per label in each row. The cells have the size of the
            largest image; smaller images are enlarged to fit, with visible pixels.
        labels: labels of the columns, in ASCII.
    """
    height = max(image.shape[0] for row in rows for image in row)
    width = max(image.shape[1] for row in rows for image in row)
    size = (
        len(labels) * (width + _GAP) - _GAP,
        _LABEL_HEIGHT + len(rows) * (height + _GAP) - _GAP,
    )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(labels):
        draw.text((column * (width + _GAP) + 2, 1), label, fill="black")
    for row_index, row in enumerate(rows):
        for column, image in enumerate(row):
            cell = _fit(Image.fromarray(image), width, height)
            corner = (column * (width + _GAP), _LABEL_HEIGHT + row_index * (height + _GAP))
            sheet.paste(cell, corner)
    return sheet


def _fit(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    if scale == 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST)
