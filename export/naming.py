"""Names of bundle folders, and the rule for replacing an existing bundle."""

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
    """Return a bundle folder's name: task, model, target, precision, and non-default options.

    Size, batch, noise and device are part of the name if they are not the default. Weights that are
    not the shipped ones add the first digits of their file's SHA-256.
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

    A bundle of the same request may be replaced, a bundle of another request only with `force`, and
    a folder that is not a bundle never.

    Raises:
        UsageError: the folder exists and may not be replaced.
    """
    if not folder.exists():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / MANIFEST_NAME).is_file():
        raise UsageError(f"{folder} exists and is not a bundle", fix="pass another --out")
    if force or _recorded_request(folder / MANIFEST_NAME) == request:
        return
    raise UsageError(
        f"{folder} holds a bundle of another request",
        expected=f"this one: {_described(request)}",
        fix="pass --force to replace it, or another --out",
    )


def _recorded_request(manifest: Path) -> object:
    """Return a manifest's request; None (which equals no request) if it cannot be read."""
    try:
        values = json.loads(manifest.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return values.get("request") if isinstance(values, dict) else None


def _described(request: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in request.items() if value)
