"""The five restoration tasks as data (paper, section 5.1 and Table 6)."""

from dataclasses import dataclass
from typing import Literal

from elir_edge.errors import UsageError

AUTOENCODER = "autoencoder"
"""Name of the autoencoder, which is trained and stored like a task and shared by all tasks."""

TaskName = Literal["bfr", "sr", "denoising", "inpainting", "bsr"]


Range = tuple[float, float]
"""Smallest and largest value of a parameter; both are equal if the parameter is fixed."""


@dataclass(frozen=True, kw_only=True)
class TrainedRange:
    """The parameter ranges of the degradation that a model was trained on, for programs.

    Values refer to the image that a user has, before any enlargement. None: the degradation has no
    such part.

    Attributes:
        degradation: name of the degradation (`elir_edge.data.degradations`).
        reduction: factors by which width and height were divided.
        noise_sigma: standard deviation of the Gaussian noise (of 255).
        blur_sigma: standard deviation of the blur, in pixels of the clean image.
        jpeg_quality: quality of the JPEG compression.
        missing: fraction of missing pixels, for pixels that are missing at random.
    """

    degradation: str
    reduction: Range | None = None
    noise_sigma: Range | None = None
    blur_sigma: Range | None = None
    jpeg_quality: Range | None = None
    missing: Range | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """The properties of a task: the model's input and the flow.

    Attributes:
        name: name on the command line.
        title: a phrase for people.
        image_size: side of the training images and of the default static graph, in pixels.
        num_steps: K, Euler steps and flow segments of the published model (Table 6).
        sigma_s: standard deviation of the noise added to the coarse latent, as in the published
            configurations (for `denoising` the paper's text only refers to PMRF).
        upscale: factor by which the input is enlarged before the network; 1: not enlarged.
        upscale_filter: resampling filter of the enlargement.
        fit: how images of other sizes are fitted to the graph's size: by overlapping tiles, or by
            one resize (for aligned faces, where the network must see the whole face).
        citation: source of the degradation's definition.
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
        UsageError: there is no such task.
    """
    if name not in TASKS:
        raise UsageError(f"unknown task {name!r}", expected=f"one of {', '.join(TASKS)}")
    return TASKS[name]
