"""The apps' golden file is what Python computes today."""

import base64
import json

import numpy as np

from tests.apps.golden import GOLDEN, golden


def _pixels(fits: list[dict[str, str]]) -> list[np.ndarray]:
    return [np.frombuffer(base64.b64decode(fit["restored"]), np.uint8) for fit in fits]


def test_the_file_is_what_python_computes() -> None:
    """Weights and values to 1e-6; restored bytes to 1 of 255 (libraries round the last bit)."""
    recorded, computed = json.loads(GOLDEN.read_text(encoding="utf-8")), golden()
    assert [axis["starts"] for axis in recorded["axes"]] == [
        axis["starts"] for axis in computed["axes"]
    ]
    for one, other in zip(recorded["axes"], computed["axes"], strict=True):
        np.testing.assert_allclose(one["weights"], other["weights"], rtol=0, atol=1e-6)
    pairs = zip(recorded["resize"]["cases"], computed["resize"]["cases"], strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one["values"], other["values"], rtol=0, atol=1e-6)
    for one, other in zip(_pixels(recorded["fits"]), _pixels(computed["fits"]), strict=True):
        np.testing.assert_allclose(one.astype(int), other.astype(int), rtol=0, atol=1)
    # The twin: no picture is another's, so that a wrong one would show.
    first, second = _pixels(recorded["fits"])[:2]
    assert first.shape != second.shape
