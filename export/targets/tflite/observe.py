"""Observation of the tensor ranges of a float32 TFLite file on calibration crops."""

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elir_edge.runtime.backends.litert import LiteRtBackend
from export.calibration.ranges import (
    ActivationRange,
    TensorStatistics,
    sample_size,
    sample_stride,
    summarize,
)
from export.calibration.timing import Feed
from export.reporting import SILENT, Report
from export.targets.tflite.file import read_operations


def observe_file(
    path: Path, feeds: Sequence[Feed], report: Report = SILENT
) -> dict[str, TensorStatistics]:
    """Run a float32 file and return the observed values of its inputs and operations' outputs.

    Args:
        path: the file.
        feeds: inputs for the file, channels last.
        report: receives the progress.
    """
    extremes: dict[str, list[ActivationRange]] = defaultdict(list)
    samples: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    with LiteRtBackend(path, None, keep_tensors=True) as backend:
        names = backend.tensor_names()
        count = sample_size(len(names), len(feeds))
        for feed in report.each("observing activations of the TFLite file", feeds):
            backend.run(feed)
            for index, name in names.items():
                flat = backend.tensor(index).reshape(-1)
                extremes[name].append((float(flat.min()), float(flat.max())))
                samples[name].append(flat[:: sample_stride(len(flat), count)].copy())
    return summarize(extremes, samples, functools.partial(_floors, path))


def _floors(path: Path, lows: Mapping[str, float], highs: Mapping[str, float]) -> dict[str, float]:
    """Return -max(x) for each h that is only used in relu(x + h); see `calibration/ranges.py`."""
    operations = read_operations(path)
    readers: dict[str, int] = defaultdict(int)
    for operation in operations:
        for name in operation.inputs:
            readers[name] += 1
    floors = {}
    for operation in operations:
        if operation.kind != "ADD" or not operation.relu:
            continue
        for branch, other in (operation.inputs, operation.inputs[::-1]):
            if readers[branch] == 1 and branch in lows and other in highs:
                floors[branch] = min(max(lows[branch], -highs[other]), highs[branch])
    return floors
