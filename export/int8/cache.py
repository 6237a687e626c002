"""What searches found, kept for the next export of the same graph on the same machine."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from elir_edge.errors import ExportError
from elir_edge.files import cache_folder, replacing_file
from elir_edge.machine import processor_name
from export.int8.search import VERSION, Finding


def cached(
    key: Mapping[str, Any], search: Callable[[], Finding], report: Callable[[str], None]
) -> Finding:
    """Return the finding kept under a key, or search and keep what is found.

    Findings lie in `$ELIR_EDGE_CACHE`, by default `~/.cache/elir-edge`; delete the folder to search
    anew. A kept finding that is damaged, or contradicts itself, is searched for anew. A finding
    that cannot be kept is returned all the same: it took minutes.

    Args:
        key: what the finding depends on, but for the search itself and the machine.
        search: makes it.
        report: told what is not kept or not used, and why.

    Raises:
        ExportError: the folder cannot be written to, noticed before the search.
    """
    path = _path(key)
    if path.exists():
        try:
            return _checked(Finding.from_json(path.read_text(encoding="utf-8")), key)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            report(f"{path} is of no use ({error}): searching anew")
    _require_writable(path.parent)
    found = search()
    try:
        with replacing_file(path) as temporary:
            temporary.write_text(found.to_json(), encoding="utf-8")
    except OSError as error:
        report(f"the finding is not kept for next time: {error}")
    return found


def _path(key: Mapping[str, Any]) -> Path:
    whole = {
        "search": VERSION,
        # Recipes are chosen by their times.
        "processor": processor_name(),
        "cores": os.cpu_count(),
        # It computes the weights' rounding and the biases for every runtime.
        "onnxruntime": version("onnxruntime"),
        **key,
    }
    text = json.dumps(whole, sort_keys=True)
    return cache_folder("int8") / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _checked(finding: Finding, key: Mapping[str, Any]) -> Finding:
    """Require that a finding can be carried out and explained."""
    if finding.runtime != key["runtime"]:
        raise ValueError(f"it is for {finding.runtime}")
    known = {*finding.layers, *(key.get("prefer") or {}).get("float_nodes", ())}
    if unknown := [name for name in finding.recipe.float_nodes if name not in known]:
        raise ValueError(f"nothing tells what {unknown[0]} wins in float32")
    if finding.recipe not in [trial.recipe for trial in finding.trials]:
        raise ValueError("its recipe was not tried")
    return finding


def _require_writable(folder: Path) -> None:
    probe = folder / ".writable"
    try:
        with replacing_file(probe) as temporary:
            temporary.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(
            f"what the int8 search finds cannot be kept in {folder}: {error}",
            fix="name a folder that can be written to in ELIR_EDGE_CACHE",
        ) from error
