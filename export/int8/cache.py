"""What searches found, kept for the next export of the same graph on the same machine."""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from elir_edge.errors import ExportError
from elir_edge.files import cache_folder, replacing_file
from elir_edge.machine import processor_name
from export.calibration.judge import Judge
from export.int8.candidates import Candidates
from export.int8.recipe import PlacementT, Recipe
from export.int8.search import VERSION, Effort, SearchResult, find
from export.reporting import Report


def cached(
    key: Mapping[str, Any],
    search: Callable[[], SearchResult[PlacementT]],
    placements: type[PlacementT],
    report: Report,
) -> SearchResult[PlacementT]:
    """Return the result kept under a key, or search and keep what is found.

    Results lie in `$ELIR_EDGE_CACHE`, by default `~/.cache/elir-edge`; delete the folder to search
    anew. A kept result that is damaged, or contradicts itself, is searched for anew. One that
    cannot be kept is returned all the same: it took minutes.

    Args:
        key: what the result depends on, but for the search itself and the machine.
        search: makes it.
        placements: of the engine.
        report: told what is not kept or not used, and why.

    Raises:
        ExportError: the folder cannot be written to, noticed before the search.
    """
    path = _path(key)
    if path.exists():
        try:
            kept = SearchResult.from_json(path.read_text(encoding="utf-8"), placements)
            return _checked(kept, key)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            report(f"{path} is of no use ({error}): searching anew")
    _require_writable(path.parent)
    found = search()
    try:
        with replacing_file(path) as temporary:
            temporary.write_text(found.to_json(), encoding="utf-8")
    except OSError as error:
        report(f"the result is not kept for next time: {error}")
    return found


def find_cached(
    candidates: Candidates[PlacementT],
    judge: Judge,
    placements: type[PlacementT],
    key: Mapping[str, Any],
    *,
    prefer: Recipe[PlacementT] | None = None,
    effort: Effort,
    report: Report,
) -> SearchResult[PlacementT]:
    """Return what `find` finds among an engine's candidates, searched for once.

    Args:
        candidates: see `find`.
        judge: see `find`.
        placements: of the engine.
        key: what the result depends on beside the arguments: model, crops, versions.
        prefer: see `find`.
        effort: see `find`.
        report: told what is going on.

    Raises:
        ExportError: see `find` and `cached`.
    """
    whole = {
        **key,
        "runtime": candidates.runtime,
        "effort": effort.value,
        "prefer": None if prefer is None else asdict(prefer),
    }
    search = functools.partial(find, candidates, judge, prefer=prefer, effort=effort, report=report)
    return cached(whole, search, placements, report)


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


def _checked(result: SearchResult[PlacementT], key: Mapping[str, Any]) -> SearchResult[PlacementT]:
    """Require that a result can be carried out and explained."""
    if result.runtime != key["runtime"]:
        raise ValueError(f"it is for {result.runtime}")
    known = {*result.layers, *(key.get("prefer") or {}).get("float_nodes", ())}
    if unknown := [name for name in result.recipe.float_nodes if name not in known]:
        raise ValueError(f"nothing tells what {unknown[0]} wins in float32")
    if result.recipe not in [trial.recipe for trial in result.trials]:
        raise ValueError("its recipe was not tried")
    return result


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
