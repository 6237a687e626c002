"""The five restoration tasks as data (paper, section 5.1 and Table 6)."""

from dataclasses import dataclass
from typing import Literal

from elir_edge.errors import UsageError

AUTOENCODER = "autoencoder"
"""What is trained and stored beside the tasks, and shared by them."""

TaskName = Literal["bfr", "sr", "denoising", "inpainting", "bsr"]


Range = tuple[float, float]
"""The least and the most of what is drawn; both equal where nothing is."""


@dataclass(frozen=True, kw_only=True)
class TrainedRange:
    """What was done to the images that a model learned to restore, as programs read it.

    Measured in the image that a user holds, before any enlargement. None: nothing of the kind.

    Attributes:
        degradation: its name (`elir_edge.data.degradations`).
        reduction: factors that width and height were divided by.
        noise_sigma: standard deviations of Gaussian noise, of 255.
        blur_sigma: standard deviations of the blur, in pixels of the clean image.
        jpeg_quality: of the compression.
        missing: shares of the pixels that were missing where single ones were.
    """

    degradation: str
    reduction: Range | None = None
    noise_sigma: Range | None = None
    blur_sigma: Range | None = None
    jpeg_quality: Range | None = None
    missing: Range | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a task fixes about the model's input and its flow.

    Attributes:
        name: the name used on every command line.
        title: a phrase for people.
        image_size: side of the training images and of the default static graph, in pixels.
        num_steps: K, Euler steps and flow segments of the published model (Table 6).
        sigma_s: standard deviation of the noise added to the coarse latent, as in the published
            configurations (`denoising`: the text gives no number, only that it is PMRF's).
        upscale: factor by which the input is enlarged before the network (1: not at all).
        upscale_filter: how it is enlarged.
        fit: how images of other sizes are brought to the graph's: overlapping tiles, or (for
            aligned faces, where the whole face must be in view) one resize.
        citation: where the degradation is defined.
    """

    name: TaskName
    title: str
    image_size: int
    num_steps: int
    sigma_s: float
    upscale: int
    upscale_filter: Literal["nearest", "bicubic"]
    fit: Literal["tile", "resize"]
    citation: str


_PAPER = "Cohen et al., Efficient Image Restoration via Latent Consistency Flow Matching"

TASKS: dict[str, Task] = {
    "bfr": Task(
        name="bfr",
        title="blind face restoration",
        image_size=512,
        num_steps=5,
        sigma_s=0.1,
        upscale=1,
        upscale_filter="bicubic",
        fit="resize",
        citation=f"{_PAPER}, section 5.1 (Face Restoration)",
    ),
    "sr": Task(
        name="sr",
        title="x8 super-resolution",
        image_size=256,
        num_steps=3,
        sigma_s=0.1,
        upscale=8,
        upscale_filter="nearest",
        fit="tile",
        citation=f"{_PAPER}, section 5.1, degradation of PMRF (Ohayon et al., 2025)",
    ),
    "denoising": Task(
        name="denoising",
        title="denoising",
        image_size=256,
        num_steps=3,
        sigma_s=0.025,
        upscale=1,
        upscale_filter="nearest",
        fit="tile",
        citation=f"{_PAPER}, section 5.1, degradation of PMRF (Ohayon et al., 2025)",
    ),
    "inpainting": Task(
        name="inpainting",
        title="inpainting of randomly missing pixels",
        image_size=256,
        num_steps=3,
        sigma_s=0.1,
        upscale=1,
        upscale_filter="nearest",
        fit="tile",
        citation=f"{_PAPER}, section 5.1, degradation of PMRF (Ohayon et al., 2025)",
    ),
    "bsr": Task(
        name="bsr",
        title="blind x4 super-resolution",
        image_size=256,
        num_steps=3,
        sigma_s=0.04,
        upscale=4,
        upscale_filter="bicubic",
        fit="tile",
        citation=f"{_PAPER}, section 5.1, degradation of ResShift (Yue et al., 2024)",
    ),
}


def get_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        UsageError: no such task.
    """
    if name not in TASKS:
        raise UsageError(f"unknown task {name!r}", expected=f"one of {', '.join(TASKS)}")
    return TASKS[name]
