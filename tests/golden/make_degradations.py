"""Recorded results of every degradation: `python -m tests.golden.make_degradations` rewrites them.

They hold every draw and constant in place; what the constants should be is tested by their effect
in `tests/data`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from elir_edge.data.degradations import DEGRADATIONS
from elir_edge.data.operations import FloatImage
from elir_edge.data.real_esrgan import RESSHIFT_TEST, TRAINING, draw_blur

GOLDEN = Path(__file__).with_name("degradations.json")
_SIDE = 64
_SEEDS = 16
_BLUR_SEEDS = 60


def image() -> FloatImage:
    """Return a picture with smooth areas, edges and texture, (64, 64, 3) in [0, 1]."""
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    planes = [0.5 + 0.4 * np.sin(9 * x + 3 * y), y, 0.3 + 0.5 * (x > 0.5) * (y < 0.7)]
    texture = np.random.default_rng(5).random((_SIDE, _SIDE, 3)) * 0.2 * (y > 0.5)[..., None]
    return np.clip(np.stack(planes, axis=-1) + texture, 0, 1).astype(np.float32)


def results() -> dict[str, list[list[float]]]:
    """Return mean, deviation and a weighted sum of each result, by task, degradation and seed."""
    clean = image()
    found = {}
    for task, variants in DEGRADATIONS.items():
        for name, degradation in variants.items():
            found[f"{task} {name}"] = [
                _summary(degradation.apply(clean, np.random.default_rng([3, seed])))
                for seed in range(_SEEDS)
            ]
    for name, settings in (("training", TRAINING), ("resshift-test", RESSHIFT_TEST)):
        kernels = (draw_blur(np.random.default_rng([4, s]), settings) for s in range(_BLUR_SEEDS))
        found[f"blur {name}"] = [_summary(kernel[..., None]) for kernel in kernels]
    return found


def _summary(values: Any) -> list[float]:
    rows, columns = values.shape[:2]
    weights = np.linspace(-1, 1, rows)[:, None, None] * np.linspace(0, 1, columns)[None, :, None]
    numbers = (values.mean(), values.std(), (values * weights).mean())
    return [round(float(number), 6) for number in numbers]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(results(), indent=1) + "\n", encoding="utf-8")
