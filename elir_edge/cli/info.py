"""`elir-edge info`: describe a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from elir_edge.console import console
from elir_edge.tasks import TASKS

if TYPE_CHECKING:
    from elir_edge.runtime.manifest import EngineRecord

EPILOG = "Example: elir-edge info dist/denoising-nano-onnx-fp32"


def info(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `make export`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Describe a bundle: its model, inputs, outputs, files and checks."""
    from elir_edge.runtime import Bundle

    opened = Bundle.open(bundle)
    manifest = opened.manifest
    if as_json:
        print(manifest.to_json(), end="")
        return
    identity, processing = manifest.identity, manifest.processing
    passed = sum(check.passed for check in manifest.validation)
    table = Table(show_header=False, title=escape(identity.name))
    title = f" ({TASKS[identity.task].title})" if identity.task in TASKS else ""
    rows = {
        "task": f"{identity.task}{title}",
        "model": f"{identity.model}, K = {identity.num_steps}, sigma_s = {identity.sigma_s:g}",
        "noise": identity.noise.policy,
        "precision": manifest.precision.name,
        "runtime": ", ".join(opened.runtimes),
        **_engine_row(manifest.target.engine),
        "made by": f"elir-edge {identity.tool_version}, commit {identity.git_commit[:12]}",
        "checkpoint": f"{manifest.source.checkpoint}, SHA-256 {manifest.source.sha256[:16]}...",
        "other sizes": f"{processing.fit}, overlap {processing.overlap}, x{processing.upscale}",
        "checks": f"{passed} of {len(manifest.validation)} passed",
    }
    for spec in (*manifest.inputs, *manifest.outputs):
        side = "input" if spec in manifest.inputs else "output"
        shape = " x ".join(str(n) for n in spec.shape)
        rows[f"{side} {spec.name}"] = f"{spec.dtype} {spec.layout} {shape} {spec.colour}"
    for entry in manifest.files:
        rows[f"file {entry.path}"] = f"{entry.role}, {entry.bytes:,} bytes"
    for key, value in rows.items():
        table.add_row(escape(key), escape(value))
    console.print(table)


def _engine_row(engine: "EngineRecord | None") -> dict[str, str]:
    if engine is None:
        return {}
    tried = "run when made" if engine.ran else "built ahead of time, never run where it was made"
    return {"engine": f"{engine.kind} {engine.version} for {engine.capability}, {tried}"}
