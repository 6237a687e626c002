"""Grids of images: where things are."""

import numpy as np

from elir_edge.pictures import grid


def test_cells_are_where_they_belong() -> None:
    red, green = np.zeros((2, 20, 30, 3), np.uint8)
    red[..., 0] = green[..., 1] = 200
    small = np.full((10, 15, 3), 90, np.uint8)
    sheet = np.asarray(grid([[red, green], [small, red]], ["a", "b"]))
    assert sheet.shape == (16 + 20 + 4 + 20, 30 + 4 + 30, 3)
    assert (sheet[16:36, :30] == red).all()
    assert (sheet[16:36, 34:] == green).all()
    assert (sheet[40:, :30] == 90).all()  # enlarged to the cell
    assert (sheet[40:, 34:] == red).all()
    assert (sheet[:16, :30] < 255).any()  # the label
