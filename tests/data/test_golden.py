"""Degradations give what they gave when their numbers were checked by effect."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from elir_edge.data.degradations import DEGRADATIONS
from tests.golden.make_degradations import GOLDEN, image, results

_TOLERANCE = 5e-4
"""Of means and deviations in [0, 1]: JPEG decoders differ by a level here and there."""
_RARE, _RARE_TOLERANCE = 0.25, 2.5e-3
"""Of so many samples: on another processor a value at half a level is rounded to the other side,
and JPEG at low quality turns that level into a block."""


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[list[float]]]:
    loaded: dict[str, list[list[float]]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def found() -> dict[str, list[list[float]]]:
    return results()


def test_every_degradation_is_recorded(
    recorded: dict[str, list[list[float]]], found: dict[str, list[list[float]]]
) -> None:
    assert list(recorded) == list(found)
    names = {f"{task} {name}" for task, kinds in DEGRADATIONS.items() for name in kinds}
    assert names | {"blur training", "blur resshift-test"} == set(recorded)


@pytest.mark.parametrize("name", json.loads(GOLDEN.read_text(encoding="utf-8")))
def test_results_are_unchanged(
    name: str, recorded: dict[str, list[list[float]]], found: dict[str, list[list[float]]]
) -> None:
    values = np.array(recorded[name])
    assert _are_same(np.array(found[name]), values)
    # The twins: other seeds give other results, and so does what moves all of them a little.
    assert not _are_same(np.array(found[name]), values[::-1])
    assert not _are_same(np.array(found[name]), values + 1.1 * _TOLERANCE)


def _are_same(found: NDArray[np.float64], recorded: NDArray[np.float64]) -> bool:
    differences = np.abs(found - recorded).max(axis=1)
    rare = np.mean(differences > _TOLERANCE) <= _RARE
    return bool(rare and differences.max() <= _RARE_TOLERANCE)


def test_the_picture_is_unchanged() -> None:
    assert float(image().mean()) == pytest.approx(0.507, abs=0.05)
    assert image().shape == (64, 64, 3)
