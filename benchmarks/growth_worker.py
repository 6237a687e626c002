"""A process of `growth.py`: one artifact in one runtime, its times and its peak memory.

It imports no torch, so that its memory is what an application's would be. Lines in: `time COUNT` or
`memory`; lines out: JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from elir_edge.errors import ElirError
from elir_edge.runtime import Restorer
from elir_edge.runtime.backends import open_backend


def memory_mb(field: str) -> float:
    """Return this process's `VmRSS` (memory now) or `VmHWM` (its peak), in MB (10^6 bytes).

    `getrusage`'s peak would count the process that started this one.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ElirError(f"this system does not tell {field}", fix="run growth.py on Linux")


def open_call(request: dict[str, Any]) -> Callable[[], object]:
    """Return what runs once: a graph on its input, or a bundle on a picture, tile by tile."""
    image = np.load(request["image"])
    if request["bundle"]:
        restorer = Restorer(
            request["artifact"], threads=request["threads"], runtime=request["runtime"]
        )
        return lambda: restorer.restore(image)
    backend = open_backend(request["runtime"], Path(request["artifact"]), request["threads"])
    return lambda: backend.run({request["input"]: image})


def _import_runtime(name: str) -> None:
    """Import it, so that its own memory is not taken for the model's."""
    if name == "openvino":
        import openvino  # noqa: F401
    else:
        import onnxruntime  # noqa: F401


def main() -> None:
    """Serve until the input ends."""
    request = json.loads(sys.argv[1])
    try:
        _import_runtime(request["runtime"])
        idle = memory_mb("VmRSS")
        call = open_call(request)
        call()
    except (ElirError, ImportError) as error:
        print(json.dumps({"reason": str(error)}), flush=True)
        return
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        kind, *count = line.split()
        if kind == "memory":
            answer: object = {"peak_mb": memory_mb("VmHWM"), "idle_mb": idle}
        else:
            answer = [_milliseconds(call) for _ in range(int(count[0]))]
        print(json.dumps(answer), flush=True)


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
