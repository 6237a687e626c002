"""A camera whose sensor is a bundle's emulation: frames and tensors as picamera2 hands them out.

The shapes and orders follow the sources of picamera2 (`get_outputs`) and libcamera (the parser of
output tensors): values sorted by the description's dimensions, the first dimension fastest.
"""

import json
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from elir_edge.runtime.backends.ort import OnnxRuntimeBackend


class Sensor:
    """What a bundle's network makes of pictures, in the form that libcamera passes on."""

    def __init__(self, bundle: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        (self._input,), (self._output,) = manifest["inputs"], manifest["outputs"]
        description = json.loads((bundle / "description.json").read_text(encoding="utf-8"))
        (self._described,) = description["outputs"]
        self._backend = OnnxRuntimeBackend(bundle / "emulation.onnx", threads=1)
        self._pictures = pictures
        self.closed = False
        self.network = ""

    def results(self) -> list[NDArray[np.uint8]]:
        """Return the emulation's result for each picture, (H, W, 3)."""
        runs = [self._backend.run({self._input["name"]: p[None]}) for p in self._pictures]
        return [np.asarray(each[self._output["name"]][0], np.uint8) for each in runs]

    def frames(self) -> Iterator[dict[str, Any]]:
        """Yield the metadata of frames: two without a result, then each result and one without."""
        yield from ({}, {})
        while True:
            for pixels in self.results():
                # (H, W, C) to the description's (C, H, W), its first dimension fastest.
                values = pixels.transpose(2, 0, 1) * np.float32(self._described["scale"])
                yield {
                    "CnnOutputTensor": tuple(values.ravel(order="F").tolist()),
                    "sizes": [self._described["dimensions"]],
                    "CnnKpiInfo": (12_500, 900),
                }
                yield {}


def install(monkeypatch: pytest.MonkeyPatch, sensor: Sensor) -> None:
    """Put a `picamera2` in place that plays a sensor."""

    class IMX500:
        camera_num = 0

        def __init__(self, network_file: str) -> None:
            if not Path(network_file).is_file():
                raise RuntimeError(f"Firmware file {network_file} does not exist.")
            sensor.network = network_file

        def set_auto_aspect_ratio(self) -> None: ...

        def get_fw_upload_progress(self, stage: int) -> tuple[int, int]:
            return (50, 100) if stage == 2 else (0, 0)

        def get_kpi_info(self, metadata: dict[str, Any]) -> tuple[float, float] | None:
            times = metadata.get("CnnKpiInfo")
            return None if times is None else (times[0] / 1000, times[1] / 1000)

        def get_outputs(self, metadata: dict[str, Any]) -> list[NDArray[np.float32]] | None:
            tensor = metadata.get("CnnOutputTensor")
            if not tensor:
                return None
            values = np.fromiter(tensor, dtype=np.float32)
            found = []
            for sizes in metadata["sizes"]:
                count = int(np.prod(sizes))
                found.append(values[:count].reshape(sizes, order="F"))
                values = values[count:]
            return found

    class Picamera2:
        def __init__(self, number: int) -> None:
            self._frames = sensor.frames()

        def create_preview_configuration(self, controls: dict[str, float]) -> dict[str, Any]:
            return {"controls": controls}

        def start(self, configuration: dict[str, Any], show_preview: bool) -> None: ...

        def capture_metadata(self) -> dict[str, Any]:
            return next(self._frames)

        def close(self) -> None:
            sensor.closed = True

    camera, devices = types.ModuleType("picamera2"), types.ModuleType("picamera2.devices")
    camera.Picamera2, devices.IMX500 = Picamera2, IMX500  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", camera)
    monkeypatch.setitem(sys.modules, "picamera2.devices", devices)
