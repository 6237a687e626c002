"""What the browser app's unit tests compare with is what the runtime computes, and the docs say."""

import json
import re
from pathlib import Path

import numpy as np

from tests.apps import make_web_golden

ROOT = Path(__file__).parents[2]
_TOLERANCE = 2e-7
"""Of values that are recorded with seven digits."""


def test_the_record_is_what_the_runtime_computes() -> None:
    recorded = json.loads(make_web_golden.GOLDEN.read_text(encoding="ascii"))
    computed = json.loads(json.dumps(make_web_golden.results()))
    assert _differences(recorded, computed) == []


def test_a_change_of_the_runtime_is_noticed() -> None:
    """The twin: one weight, and one pixel."""
    recorded = json.loads(make_web_golden.GOLDEN.read_text(encoding="ascii"))
    other = json.loads(json.dumps(recorded))
    other["axes"][1]["weights"][0][-1] += 1e-3
    other["fits"][0]["bytes"] = "ff" + other["fits"][0]["bytes"][2:]
    assert _differences(recorded, other) == ["axes.1.weights.0.63", "fits.0.bytes"]


def _differences(first: object, second: object, where: str = "") -> list[str]:
    """Return the places at which two records differ; of hexadecimal pixels by more than 1."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        pairs = [(key, first[key], second[key]) for key in first]
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(first, second, strict=True))]
    elif isinstance(first, float) and isinstance(second, float):
        return [] if abs(first - second) <= _TOLERANCE else [where]
    elif where.endswith("bytes") and isinstance(first, str) and isinstance(second, str):
        a, b = (
            np.frombuffer(bytes.fromhex(text), np.uint8).astype(int) for text in (first, second)
        )
        return [] if len(a) == len(b) and np.abs(a - b).max() <= 1 else [where]
    else:
        return [] if first == second else [where]
    return [
        found
        for key, a, b in pairs
        for found in _differences(a, b, f"{where}.{key}" if where else key)
    ]


def test_the_guide_is_that_of_the_docs() -> None:
    page = (ROOT / "docs" / "restoring.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE)
    source = (ROOT / "apps" / "web" / "src" / "tasks.ts").read_text(encoding="utf-8")
    shown = re.findall(
        r'name: "(\w+)",\s+title: "[^"]+",\s+suffers: "([^"]+)",\s+learned: "([^"]+)"', source
    )
    assert len(rows) == 5
    assert {name: (suffers, learned) for name, suffers, learned in shown} == {
        name: (suffers, learned) for suffers, name, learned in rows
    }
