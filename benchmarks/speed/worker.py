"""One row of the speed benchmark in a process of its own; this one runs bundles, without torch.

    python -m benchmarks.speed.worker BUNDLE RUNTIME PHOTOS THREADS

The process reads requests from standard input, a JSON object a line, and answers each by one line:

    {"kind": "model", "first": 0, "count": 10, "lead": 3}   times the graph alone on photos 0 to 9
    {"kind": "end_to_end", ...}                             from the file to 8-bit pixels
    {"kind": "memory"}                                      the most memory that it held so far
    {"kind": "outputs", "count": 8, "path": "row.npy"}      saves what the graph makes of 8 photos

It imports numpy, Pillow and the runtime, so that it also runs on a device, and so that the memory
it reports is the runtime's and not torch's.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ElirError
from elir_edge.runtime import Restorer
from elir_edge.runtime.arrays import FloatImage, region_as_float, resize
from elir_edge.runtime.backends import open_bundle
from elir_edge.runtime.bench import peak_megabytes
from elir_edge.runtime.bundle import Bundle
from elir_edge.runtime.images import read_picture
from elir_edge.runtime.tensors import from_tensor, only_tensor, to_tensor

_CPU_TIMES = Path("/proc/stat")
_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat that are no idling: user, nice, system, irq, softirq, steal."""
_CPUINFO = Path("/proc/cpuinfo")
_CLOCKS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What is timed, and what lies around it.

    Attributes:
        version: name and version of the runtime.
        load: from a photo's file to what the graph takes; not timed with the model alone.
        model: runs the graph and waits until it is done.
        image: from what the graph gave to (size, size, 3) in [0, 1]; not timed.
        end_to_end: from a photo's file to 8-bit pixels: decode, prepare, run, finish.
        macs: multiply-accumulates of a run, where the caller cannot know them.
    """

    version: str
    load: Callable[[Path], Any]
    model: Callable[[Any], Any]
    image: Callable[[Any], FloatImage]
    end_to_end: Callable[[Path], object]
    macs: int | None = None


def network_input(path: Path, size: int, method: str) -> FloatImage:
    """Return a photo as the network's input, (size, size, 3) in [0, 1].

    Args:
        path: file of a photo of that size, or of a smaller one that the task enlarges.
        size: side of the input, in pixels.
        method: how smaller photos are enlarged, `nearest` or `bicubic`.
    """
    image = region_as_float(read_picture(path).pixels)
    return image if image.shape[0] == size else resize(image, size, size, method)


def bundle_calls(bundle: Bundle, runtime: str, threads: int) -> Calls:
    """Return the calls of a bundle in one of its runtimes.

    Raises:
        ElirError: the runtime is missing, or does not run the bundle.
    """
    manifest = bundle.manifest
    backend = open_bundle(bundle, runtime, threads)
    restorer = Restorer(bundle, runtime=runtime, backend=backend)
    given, made = only_tensor(manifest.inputs, "image"), only_tensor(manifest.outputs, "image")
    method = manifest.processing.upscale_filter

    def load(path: Path) -> dict[str, NDArray[Any]]:
        return {given.name: to_tensor(network_input(path, restorer.size, method), given)}

    return Calls(
        version=backend.version,
        load=load,
        model=backend.run,
        image=lambda outputs: from_tensor(outputs[made.name], made),
        end_to_end=lambda path: restorer.restore(read_picture(path).pixels),
    )


def time_turn(calls: Calls, kind: str, photos: list[Path], count: int, lead: int) -> dict[str, Any]:
    """Time a turn: `lead` untimed runs, then one timed run for each of `count` photos.

    Args:
        calls: what is timed.
        kind: `model` or `end_to_end`.
        photos: at least one; the first `count` are timed.
        count: how many are timed; 0: none, to warm up.
        lead: untimed runs, on the same photos.

    Returns:
        `milliseconds` of each timed run, and what the processor did meanwhile (`_Meter`).
    """
    given = [calls.load(path) for path in photos] if kind == "model" else photos
    call = calls.model if kind == "model" else calls.end_to_end
    for i in range(lead):
        call(given[i % len(given)])
    meter, times = _Meter(), []
    for item in given[:count]:
        started = time.perf_counter()
        call(item)
        times.append(1000 * (time.perf_counter() - started))
    return {"milliseconds": times, **meter.read()}


class _Meter:
    """What the processor did since it was made: seconds, and the clock at the end."""

    def __init__(self) -> None:
        self._wall, self._own = time.perf_counter(), time.process_time()
        self._busy = busy_seconds()

    def read(self) -> dict[str, float | None]:
        """Return wall seconds, this process's CPU seconds, all CPU seconds, and the clock."""
        before, after = self._busy, busy_seconds()
        return {
            "wall_s": time.perf_counter() - self._wall,
            "own_s": time.process_time() - self._own,
            "busy_s": None if before is None or after is None else after - before,
            "clock_mhz": clock_megahertz(),
        }


def busy_seconds() -> float | None:
    """Return the seconds that all cores worked since the start; None where nothing says it."""
    try:
        fields = _CPU_TIMES.read_text(encoding="ascii").splitlines()[0].split()[1:]
        return sum(int(fields[i]) for i in _BUSY) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):  # not Linux, or Android, which refuses
        return None


def clock_megahertz() -> float | None:
    """Return the cores' highest clock at this moment; None where nothing says it."""
    found = [_number(path) for path in _CLOCKS.glob("cpu*/cpufreq/scaling_cur_freq")]
    clocks = [kilohertz / 1000 for kilohertz in found if kilohertz is not None]
    if not clocks and _CPUINFO.is_file():
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
        clocks = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return max(clocks) if clocks else None


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def serve(calls: Calls, photos: list[Path], requests: Iterable[str]) -> None:
    """Answer requests until there are none (see the module)."""
    answer({"version": calls.version, "macs": calls.macs})
    for line in requests:
        request = json.loads(line)
        if request["kind"] == "memory":
            answer({"peak_mb": peak_megabytes()})
        elif request["kind"] == "outputs":
            _save_outputs(calls, photos[: request["count"]], Path(request["path"]))
            answer({})
        else:
            first, count = request["first"], request["count"]
            chosen = photos[first : first + max(count, 1)]
            answer(time_turn(calls, request["kind"], chosen, count, request["lead"]))


def _save_outputs(calls: Calls, photos: list[Path], path: Path) -> None:
    images = [calls.image(calls.model(calls.load(photo))) for photo in photos]
    np.save(path, np.stack(images).astype(np.float32))


def answer(content: dict[str, Any]) -> None:
    """Print one line for the process that asks."""
    print(json.dumps(content), flush=True)


def list_photos(folder: Path) -> list[Path]:
    """Return the photos that `photos.py` wrote, in order."""
    return sorted(folder.glob("*.png"))


def main(arguments: list[str]) -> None:
    """Open a bundle and serve; a bundle that cannot run here is answered by the reason."""
    folder, runtime, photos, threads = arguments
    try:
        calls = bundle_calls(Bundle.open(folder), runtime, int(threads))
    except ElirError as error:
        answer({"reason": str(error)})
        return
    serve(calls, list_photos(Path(photos)), sys.stdin)


if __name__ == "__main__":
    main(sys.argv[1:])
