"""A stand-in for a runtime: it counts its calls, and writes the counts when it is closed.

python -m tests.benchmarks.speed.counting_worker PHOTOS COUNTS [CALLS_BEFORE_IT_CRASHES]
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.speed.worker import Calls, list_photos, serve

CRASH_CODE = 9


def main(photos: str, counts: str, limit: str = "inf") -> None:
    """Serve, and count."""
    counter: Counter[str] = Counter()
    seen: set[str] = set()

    def count(kind: str, path: Path) -> Path:
        counter[kind] += 1
        seen.add(f"{kind} {path.name}")
        if counter["model"] > float(limit):
            os._exit(CRASH_CODE)
        return path

    calls = Calls(
        version="counting 1.0",
        load=lambda path: path,
        model=lambda path: count("model", path),
        image=lambda path: np.full((2, 2, 3), int(path.stem), np.float32),
        end_to_end=lambda path: count("end_to_end", path),
        macs=1000,
    )
    serve(calls, list_photos(Path(photos)), sys.stdin)
    Path(counts).write_text(json.dumps({**counter, "seen": len(seen)}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
