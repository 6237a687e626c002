"""Changes to a bundle by one who wants it to be believed: the hashes follow."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elir_edge.files import sha256_of
from elir_edge.runtime.manifest import MANIFEST_NAME


def change_manifest(bundle: Path, change: Callable[[Any], None]) -> None:
    """Change a manifest's values in place, and its hash with them."""
    path = bundle / MANIFEST_NAME
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    write_text_and_digest(path, json.dumps(values))


def write_text_and_digest(manifest: Path, text: str) -> None:
    """Write a manifest as one who wants it to be believed."""
    content = text.encode()
    manifest.write_bytes(content)
    line = f"{hashlib.sha256(content).hexdigest()}  manifest.json\n"
    manifest.with_suffix(".sha256").write_text(line, encoding="ascii")


def fix_up(bundle: Path, name: str) -> None:
    """Give the manifest the size and hash that a file has now."""

    def change(values: Any) -> None:
        entry = next(e for e in values["files"] if e["path"] == name)
        entry["bytes"] = (bundle / name).stat().st_size
        entry["sha256"] = sha256_of(bundle / name)

    change_manifest(bundle, change)
