"""Write a bundle (golden images, preview, README, manifest) and verify it as a user would."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from elir_edge import __version__
from elir_edge.checkpoints.own import Checkpoint
from elir_edge.data.degradations import get_degradation
from elir_edge.data.operations import FloatImage, to_uint8
from elir_edge.metrics import psnr
from elir_edge.runtime.bundle import Bundle, describe_file, write_manifest
from elir_edge.runtime.manifest import (
    SCHEMA_VERSION,
    Check,
    CheckpointRecord,
    FileEntry,
    Identity,
    Manifest,
    Noise,
    Processing,
    SelfTest,
)
from elir_edge.runtime.restore import Restorer
from elir_edge.runtime.selftest import verify_bundle
from elir_edge.tasks import get_task
from export.parity import MIN_PSNR_SELF_TEST
from export.sample import Sample, image_hwc
from export.targets.base import EmittedArtifact

_INPUT, _EXPECTED = "golden_input.png", "golden_output.png"
_LICENCES = {
    "code": "Apache-2.0",
    "weights": "see the checkpoint's model card",
    "sample": "public domain (NASA)",
}


@dataclass(frozen=True, kw_only=True)
class BundleContent:
    """Everything that a bundle's files are written from, except the artifact itself."""

    name: str
    task: str
    request: dict[str, str]
    checkpoint: Checkpoint
    noise: Noise
    rewrites: dict[str, int]
    rewrites_refused: dict[str, tuple[str, ...]]
    emitted: EmittedArtifact
    usage: str
    checks: list[Check]
    sample: Sample
    reference: NDArray[np.float32]
    full: FloatImage | None = None


def write_bundle(folder: Path, content: BundleContent) -> None:
    """Complete the bundle whose artifact is in `folder`, and verify it.

    Raises:
        ElirError: the bundle cannot be opened, or fails its self-test.
    """
    Image.fromarray(to_uint8(content.sample.degraded_hwc)).save(folder / _INPUT)
    preview_runtime = content.emitted.preview_runtime
    # The manifest stays in memory until the runtime itself has computed the golden output.
    unfinished = Bundle(folder=folder, manifest=_manifest(content, _files(folder, content)))
    with Restorer(unfinished, runtime=preview_runtime) as restorer:
        restored = restorer.run(content.sample.degraded_hwc)
    Image.fromarray(to_uint8(restored)).save(folder / _EXPECTED)
    reference = image_hwc(content.reference)
    preview = draw_preview(content.sample, reference, restored, content.name, full=content.full)
    preview.save(folder / "preview.png")
    (folder / "README.md").write_text(_readme(content), encoding="utf-8")
    write_manifest(folder, _manifest(content, _files(folder, content)))
    verify_bundle(folder, runtime=preview_runtime)


def draw_preview(
    sample: Sample,
    reference: FloatImage,
    restored: FloatImage,
    name: str,
    *,
    full: FloatImage | None = None,
) -> Image.Image:
    """Return a picture of input, torch fp32 and artifact, with their PSNR against the clean photo.

    If a slim decoder replaced the full one, the full decoder's result follows the input.
    """
    panels: list[tuple[str, FloatImage, str | None]] = [
        ("input", sample.degraded_hwc, None),
        *([("full decoder, torch fp32", full, None)] if full is not None else []),
        ("torch fp32", reference, None),
        (name, restored, f"{psnr(reference, restored):.1f} dB against torch"),
    ]
    size, gap, caption = len(reference), 8, 40
    canvas = Image.new("RGB", (len(panels) * (size + gap) + gap, size + 2 * gap + caption), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=13)
    for i, (title, image, remark) in enumerate(panels):
        left = gap + i * (size + gap)
        canvas.paste(Image.fromarray(to_uint8(image)), (left, gap))
        quality = f"PSNR {psnr(sample.clean, image):.2f} dB"
        text = "\n".join([title, quality + (f", {remark}" if remark else "")])
        draw.multiline_text((left, size + gap + 4), text, fill="black", font=font)
    return canvas


def _files(folder: Path, content: BundleContent) -> list[FileEntry]:
    """Describe those of the bundle's files that exist so far."""
    roles = {
        content.emitted.artifact.name: "artifact",
        _INPUT: "golden",
        _EXPECTED: "golden",
        "preview.png": "documentation",
        "README.md": "documentation",
        **{path.name: role for path, role in content.emitted.extra_files.items()},
    }
    return [
        describe_file(folder / name, role=role, folder=folder)
        for name, role in roles.items()
        if (folder / name).exists()
    ]


def _manifest(content: BundleContent, files: list[FileEntry]) -> Manifest:
    task, emitted, checkpoint = get_task(content.task), content.emitted, content.checkpoint
    return Manifest(
        schema_version=SCHEMA_VERSION,
        request=content.request,
        identity=Identity(
            name=content.name,
            task=task.name,
            model=checkpoint.config.variant,
            num_steps=checkpoint.config.num_steps,
            sigma_s=checkpoint.config.sigma_s,
            noise=content.noise,
            tool_version=__version__,
            git_commit=git_commit(),
            licences=_LICENCES,
            citation=task.citation,
        ),
        source=CheckpointRecord(
            checkpoint=checkpoint.source,
            sha256=checkpoint.sha256,
            config=checkpoint.config.to_dict(),
            training=checkpoint.training,
            trained_range=get_degradation(task.name, checkpoint.degradation).range,
        ),
        files=tuple(files),
        inputs=emitted.inputs,
        outputs=emitted.outputs,
        processing=Processing.of_task(task, len(content.sample.clean)),
        precision=emitted.precision,
        rewrites=content.rewrites,
        rewrites_refused=content.rewrites_refused,
        target=emitted.target,
        validation=tuple(content.checks),
        self_test=SelfTest(
            input=_INPUT,
            expected=_EXPECTED,
            min_psnr=MIN_PSNR_SELF_TEST[emitted.precision.name],
        ),
    )


def _readme(content: BundleContent) -> str:
    task = get_task(content.task)
    restored = f"{task.upscale} times enlarged" if task.upscale > 1 else "the same size"
    whole = task.fit == "resize"
    option = " --whole" if whole else ""
    remark = (
        "The model expects one upright face that fills the picture; `--whole` takes any photo.\n\n"
        if whole
        else ""
    )
    return (
        f"# {content.name}\n\n"
        f"ELIR for {task.title} ({task.citation}), exported by elir-edge {__version__}.\n"
        f"![preview](preview.png)\n\n"
        "Run everything below in the folder that contains this bundle. With elir-edge (any image "
        f"size; the result is {restored}; no torch):\n\n"
        f"{remark}"
        "```sh\n"
        f"elir-edge restore photo.png restored.png --bundle {content.name}{option}\n"
        f"elir-edge verify {content.name}\n"
        "```\n\n"
        "```python\n"
        "from PIL import Image\n"
        "from elir_edge.runtime import Restorer\n\n"
        f'restorer = Restorer("{content.name}"{", whole=True" if whole else ""})\n'
        'restorer.restore(Image.open("photo.png")).save("restored.png")\n'
        "```\n\n"
        f"{content.usage}\n"
        "`manifest.json` describes the inputs and outputs, how large images are tiled, what was "
        "checked, and how close each check came to its limit.\n"
    )


def git_commit() -> str:
    """Return this source tree's commit, with `+` if it has changes; `unknown` without git."""
    root = Path(__file__).resolve().parent.parent

    def ask(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")) != root:
            return "unknown"
        changed = ask("status", "--porcelain", "--untracked-files=no")
        return ask("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
