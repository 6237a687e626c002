"""Python code for bundles' READMEs that restores any photo without elir-edge."""

from collections.abc import Sequence
from dataclasses import dataclass

from elir_edge.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Call:
    """The code that calls a runtime.

    Attributes:
        imports: import lines.
        setup: lines that load the model.
        run: lines that compute `pixels` from `tile`, both (SIDE, SIDE, 3) with values 0 to 255.
    """

    imports: Sequence[str]
    setup: Sequence[str]
    run: Sequence[str]


def photo_to_photo(call: Call, task: Task, side: int) -> str:
    """Return code that restores `photo.png` to `restored.png`.

    To keep the code short, its tiles do not overlap; elir-edge overlaps and blends tiles.
    """
    whole = task.fit == "resize"
    lines = [
        "import numpy as np",
        *call.imports,
        f"from PIL import Image{', ImageOps' if whole else ''}",
        "",
        f"SIDE = {side}",
        'photo = Image.open("photo.png").convert("RGB")',
        *_fitted(task, whole),
        "image = np.asarray(fitted)",
        "height, width = image.shape[:2]",
        'image = np.pad(image, ((0, -height % SIDE), (0, -width % SIDE), (0, 0)), "symmetric")',
        "restored = np.empty_like(image)",
        *call.setup,
        "for y in range(0, image.shape[0], SIDE):",
        "    for x in range(0, image.shape[1], SIDE):",
        "        tile = image[y : y + SIDE, x : x + SIDE]",
        *(f"        {line}" for line in call.run),
        "        restored[y : y + SIDE, x : x + SIDE] = pixels",
        "result = Image.fromarray(restored[:height, :width])",
        *(["result = result.resize(photo.size, Image.Resampling.BICUBIC)"] if whole else []),
        'result.save("restored.png")',
    ]
    return "\n".join(["```python", *lines, "```", ""])


def _fitted(task: Task, whole: bool) -> list[str]:
    if whole:
        return ["fitted = ImageOps.contain(photo, (SIDE, SIDE), Image.Resampling.BICUBIC)"]
    if task.upscale == 1:
        return ["fitted = photo"]
    return [
        f"size = (photo.width * {task.upscale}, photo.height * {task.upscale})",
        f"fitted = photo.resize(size, Image.Resampling.{task.upscale_filter.upper()})",
    ]
