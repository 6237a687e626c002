"""What a bundle is called, and what may take the place of one that is there."""

import json
from pathlib import Path

from elir_edge.checkpoints.own import Checkpoint, embedded_path, is_embedded
from elir_edge.errors import UsageError
from elir_edge.files import sha256_of
from elir_edge.runtime.manifest import MANIFEST_NAME
from elir_edge.tasks import get_task

_HASH_DIGITS = 8


def bundle_name(
    checkpoint: Checkpoint,
    *,
    target: str,
    precision: str,
    size: int,
    batch: int,
    noise: str,
    device: str | None,
    quick: bool = False,
    slim: bool = False,
) -> str:
    """Return a folder's name: task, model, target, precision, and what is not the default.

    Size, batch, noise and device come by name where they are not the default; weights that are not
    the shipped ones by the first digits of their file's SHA-256.
    """
    parts = [checkpoint.task, checkpoint.config.variant, *(["slim"] if slim else [])]
    parts += [target, precision]
    if quick:
        parts.append("quick")
    if size != get_task(checkpoint.task).image_size:
        parts.append(str(size))
    if batch != 1:
        parts.append(f"batch{batch}")
    if noise != "constant":
        parts.append(f"{noise}noise")
    if device is not None:
        parts.append(device)
    if not _is_shipped(checkpoint):
        parts.append(checkpoint.sha256[:_HASH_DIGITS])
    return "-".join(parts)


def _is_shipped(checkpoint: Checkpoint) -> bool:
    task, variant = checkpoint.task, checkpoint.config.variant
    return is_embedded(task, variant) and (
        sha256_of(embedded_path(task, variant)) == checkpoint.sha256
    )


def require_replaceable(folder: Path, request: dict[str, str], *, force: bool) -> None:
    """Require that a bundle may be written to a folder.

    A bundle of the same request may be replaced; one of another request only by force; what is no
    bundle, never.

    Raises:
        UsageError: something else is there.
    """
    if not folder.exists():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / MANIFEST_NAME).is_file():
        raise UsageError(f"{folder} is there and is no bundle", fix="pass another --out")
    if force or _recorded_request(folder / MANIFEST_NAME) == request:
        return
    raise UsageError(
        f"{folder} is there, of another request",
        expected=f"this one: {_described(request)}",
        fix="pass --force to replace it, or another --out",
    )


def _recorded_request(manifest: Path) -> object:
    """Return a manifest's request; None where it cannot be read: then it is another one."""
    try:
        values = json.loads(manifest.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return values.get("request") if isinstance(values, dict) else None


def _described(request: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in request.items() if value)
