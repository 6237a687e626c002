"""The metrics of `elir-edge evaluate` as a table: names, titles, directions, weights.

A name includes what is needed to compare values: the channel of SSIM, the network of LPIPS and of
the identity score, the resolution of FFHQ's statistics.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from elir_edge.errors import UsageError

LPIPS_FILE = "lpips_squeeze_v0.1.safetensors"
IDENTITY_FILE = "MobileFaceNet.onnx"
NIQE_FILE = "niqe_pris_params.npz"
"""Names of the files that are looked for in the folder of `--metric-weights`."""

FFHQ_SIDES = (256, 512)
"""Image sides for which statistics of FFHQ are published."""

_PYIQA = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main"
_CLEAN_FID = "https://www.cs.cmu.edu/~clean-fid/stats"
_TORCHVISION = "https://download.pytorch.org/models"
_CLIP = "https://openaipublic.azureedge.net/clip/models"
_RN50 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
_FACEXLIB = "https://github.com/xinntao/facexlib/releases/download/v0.1.0"


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A weights file of a metric: its address, and its folder below torch's hub folder."""

    url: str
    folder: str = "pyiqa"

    @property
    def path(self) -> Path:
        """The path at which pyiqa looks for the file."""
        import torch

        return Path(torch.hub.get_dir()) / self.folder / self.url.rsplit("/", 1)[1]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The description of a metric, known before the metric is loaded.

    Attributes:
        name: name on the command line and in reports.
        title: name in papers.
        lower_better: whether smaller values are better.
        of: whether it scores single images or whole folders of images.
        needs_reference: whether it uses the ground truth.
        min_side: smallest allowed side of an image, in pixels.
        side: required height and width of all images; None: any size.
        computed: what computes it: this package alone, this package with a weights file of the
            user (`file`), `pyiqa`, or `facexlib`.
        file: name of its weights file in the folder of `--metric-weights`; None: it has none.
        pyiqa: name of the metric in pyiqa.
        weights: weights files to download for pyiqa or facexlib.
        options: keyword arguments for pyiqa.
    """

    name: str
    title: str
    lower_better: bool
    of: Literal["image", "folder"] = "image"
    needs_reference: bool = False
    min_side: int = 32
    side: int | None = None
    computed: Literal["here", "file", "pyiqa", "facexlib"] = "pyiqa"
    file: str | None = None
    pyiqa: str = ""
    weights: tuple[WeightsFile, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


_INCEPTION = WeightsFile(url=f"{_PYIQA}/pt_inception-2015-12-05-6726825d.pth")
_FID_CALL: dict[str, Any] = {"num_workers": 0, "verbose": False}
_FFHQ_AT = {256: _CLEAN_FID, 512: _PYIQA}


def _own_metric(name: str, title: str) -> Metric:
    return Metric(name=name, title=title, lower_better=False, needs_reference=True, computed="here")


def _lpips(network: str, title: str, *files: WeightsFile) -> Metric:
    return Metric(
        name=f"lpips-{network}",
        title=f"LPIPS ({title})",
        pyiqa="lpips-vgg" if network == "vgg" else "lpips",
        lower_better=True,
        needs_reference=True,
        weights=files,
    )


def _fid_ffhq(side: int) -> Metric:
    statistics = WeightsFile(url=f"{_FFHQ_AT[side]}/ffhq_clean_trainval70k_{side}.npz")
    dataset = {"dataset_name": "FFHQ", "dataset_res": side, "dataset_split": "trainval70k"}
    return Metric(
        name=f"fid-ffhq-{side}",
        title=f"FID against FFHQ at {side}",
        pyiqa="fid",
        lower_better=True,
        of="folder",
        side=side,
        weights=(_INCEPTION, statistics),
        options=_FID_CALL | dataset,
    )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _own_metric("psnr", "PSNR, dB"),
        _own_metric("ssim-y", "SSIM (Y)"),
        _own_metric("ssim-rgb", "SSIM (RGB)"),
        _lpips(
            "vgg",
            "VGG16",
            WeightsFile(url=f"{_TORCHVISION}/vgg16-397923af.pth", folder="checkpoints"),
            WeightsFile(url=f"{_PYIQA}/LPIPS_v0.1_vgg-a78928a0.pth"),
        ),
        _lpips(
            "alex",
            "AlexNet",
            WeightsFile(url=f"{_TORCHVISION}/alexnet-owt-7be5be79.pth", folder="checkpoints"),
            WeightsFile(url=f"{_PYIQA}/LPIPS_v0.1_alex-df73285e.pth"),
        ),
        Metric(
            name="lpips-squeeze",
            title="LPIPS (SqueezeNet)",
            lower_better=True,
            needs_reference=True,
            computed="file",
            file=LPIPS_FILE,
        ),
        Metric(
            name="fid",
            title="FID against the references",
            pyiqa="fid",
            lower_better=True,
            of="folder",
            needs_reference=True,
            weights=(_INCEPTION,),
            options=_FID_CALL,
        ),
        *map(_fid_ffhq, FFHQ_SIDES),
        Metric(
            name="niqe",
            title="NIQE",
            pyiqa="niqe",
            file=NIQE_FILE,
            lower_better=True,
            min_side=96,
            weights=(WeightsFile(url=f"{_PYIQA}/niqe_modelparameters.mat"),),
        ),
        Metric(
            name="musiq",
            title="MUSIQ (KonIQ-10k)",
            pyiqa="musiq",
            lower_better=False,
            weights=(WeightsFile(url=f"{_PYIQA}/musiq_koniq_ckpt-e95806b9.pth"),),
        ),
        Metric(
            name="clipiqa",
            title="CLIP-IQA (RN50)",
            pyiqa="clipiqa",
            lower_better=False,
            weights=(WeightsFile(url=f"{_CLIP}/{_RN50}/RN50.pt", folder="clip"),),
        ),
        Metric(
            name="ids-arcface",
            title="IDS (angle of ArcFace, degrees)",
            computed="facexlib",
            lower_better=True,
            needs_reference=True,
            weights=(WeightsFile(url=f"{_FACEXLIB}/recognition_arcface_ir_se50.pth"),),
        ),
        Metric(
            name="ids-mobilefacenet",
            title="IDS (cosine of MobileFaceNet)",
            lower_better=False,
            needs_reference=True,
            computed="file",
            file=IDENTITY_FILE,
        ),
    )
}

ALWAYS = ("psnr", "ssim-y")
"""The metrics that are always computed if there are ground truths."""

FFHQ = "fid-ffhq"
"""Name that stands for the FID variant of the images' side (one of `FFHQ_SIDES`)."""


def chosen_metrics(names: list[str], *, side: int | None, have_references: bool) -> list[Metric]:
    """Return the metrics of a run in the order of `METRICS`.

    Args:
        names: names of the requested metrics; with references, `ALWAYS` are added.
        side: side of the images in pixels if all are square and of one size; else None.
        have_references: whether there are ground truths.

    Raises:
        UsageError: a name is not a metric's, a metric needs a reference and there is none, or the
            images do not have the side that a metric requires.
    """
    unknown = [name for name in names if name not in METRICS and name != FFHQ]
    if unknown:
        raise UsageError(
            f"unknown metric {', '.join(map(repr, unknown))}",
            expected=f"some of {', '.join(METRICS)}",
        )
    wanted = {_ffhq_name(side) if name == FFHQ else name for name in names}
    chosen = [METRICS[name] for name in METRICS if name in wanted | set(ALWAYS)]
    if not have_references:
        chosen = [metric for metric in chosen if metric.name in wanted]
        lost = [metric.name for metric in chosen if metric.needs_reference]
        if lost or not chosen:
            alone = [metric.name for metric in METRICS.values() if not metric.needs_reference]
            what = f"{', '.join(lost)} cannot be computed without a ground truth"
            raise UsageError(
                what if lost else "no metric is left without a ground truth",
                expected=f"--metrics, some of {', '.join(alone)}",
            )
    for metric in chosen:
        if metric.side not in (None, side):
            raise UsageError(
                f"{metric.name} needs images of {metric.side} x {metric.side}",
                got="images of several sizes" if side is None else f"{side} x {side}",
                fix="leave it out, or evaluate at that side",
            )
    return chosen


def _ffhq_name(side: int | None) -> str:
    if side not in FFHQ_SIDES:
        sides = " or ".join(f"{each} x {each}" for each in FFHQ_SIDES)
        raise UsageError(
            f"{FFHQ} needs images of {sides}, all of the same size",
            got="images of several sizes" if side is None else f"{side} x {side}",
            fix="leave it out, or evaluate at such a side",
        )
    return f"{FFHQ}-{side}"
