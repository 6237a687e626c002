"""Files for the camera's software, and the README's instructions for a Raspberry Pi."""

import xml.etree.ElementTree as ET  # reads only the converter's own file
from typing import Any

from elir_edge.tasks import Task
from export.targets.imx500.convert import Memory


def intrinsics() -> dict[str, Any]:
    """Return picamera2's network intrinsics.

    Its schema has no task whose result is an image; `segmentation` is closest, since its tensor is
    an image too.
    """
    return {"task": "segmentation", "input_aspect_ratio": {"width": 1, "height": 1}}


def tensors(parameters: str) -> dict[str, list[dict[str, Any]]]:
    """Return shapes and formats of the tensors that the converter describes in `dnnParams.xml`."""
    root = ET.fromstring(parameters)

    def all_of(tag: str) -> list[dict[str, Any]]:
        return [
            {
                **{key: each.attrib[key] for key in ("name", "bitsPerElement", "scale", "format")},
                "dimensions": [int(d.attrib["size"]) for d in each.iter("dimension")],
                "serialization": [
                    int(d.attrib["serializationOrder"]) for d in each.iter("dimension")
                ],
            }
            for each in root.iter(tag)
        ]

    return {"inputs": all_of("inputTensor"), "outputs": all_of("outputTensor")}


def usage(size: int, task: Task, memory: Memory, name: str) -> str:
    """Return the README's section about the camera."""
    enlarge = (
        f"\nThe network was trained on images enlarged {task.upscale} times "
        f"({task.upscale_filter}) before it: the sensor does not do that, so the camera's own "
        "picture is not what it expects.\n"
        if task.upscale > 1
        else ""
    )
    return f"""On the sensor it takes {memory}, by the converter's report.
It was never run on the chip: what is measured here is the emulation, `emulation.onnx`, which
computes on the host what the quantized network computes, bytes in and bytes out.

The lines below were not tried on a camera. Make the firmware file of `packerOut.zip` on the
Raspberry Pi (`sudo apt install imx500-all`):

```sh
imx500-package -i {name}/packerOut.zip -o out  # writes out/network.rpk
```

```python
import numpy as np
from picamera2 import Picamera2
from picamera2.devices import IMX500

imx500 = IMX500("out/network.rpk")           # before Picamera2 is made; the upload takes minutes
imx500.set_auto_aspect_ratio()               # a square from the middle of the picture
camera = Picamera2(imx500.camera_num)
camera.start(camera.create_preview_configuration(controls={{"FrameRate": 10}}))
outputs = None
while outputs is None:                       # not every frame carries a result
    outputs = imx500.get_outputs(camera.capture_metadata())
restored = np.moveaxis(outputs[0], 0, -1)    # (3, {size}, {size}) float32 in [0, 1); RGB last
pixels = np.clip(np.rint(restored * 256), 0, 255).astype(np.uint8)
```

`description.json` names the tensors as the converter does, with their order of axes, in which
picamera2's `get_outputs` gives them: swap rows and columns if your version gives another.
`intrinsics.json` has the form that picamera2 reads; its schema knows no task whose result is an
image, and `segmentation` comes nearest.
{enlarge}
The tools that made it (imx500-converter and its parts, by Sony) state no licence on the package
index: they are installed from there on first use and are not part of this bundle.
"""
