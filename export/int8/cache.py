"""A cache of search results, for the next export of the same graph on the same machine."""

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
    """Return the cached result of a key, or search and cache the result.

    The cache is in `$ELIR_EDGE_CACHE`, by default `~/.cache/elir-edge`; delete the folder to repeat
    the searches. A cached result that is damaged or inconsistent is replaced by a new search. If a
    new result cannot be written, it is returned anyway, since a search takes minutes.

    Args:
        key: all that the result depends on, except the search's version and the machine.
        search: carries out the search.
        placements: the engine's enumeration of placements.
        report: receives messages about results that cannot be read or written, with the reason.

    Raises:
        ExportError: the folder is not writable; this is checked before the search.
    """
    path = _path(key)
    if path.exists():
        try:
            kept = SearchResult.from_json(path.read_text(encoding="utf-8"), placements)
            return _checked(kept, key)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            report(f"the cached result {path} is unusable ({error}): searching again")
    _require_writable(path.parent)
    found = search()
    try:
        with replacing_file(path) as temporary:
            temporary.write_text(found.to_json(), encoding="utf-8")
    except OSError as error:
        report(f"the result could not be cached: {error}")
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
    """Return the result of `find` for an engine's candidates, from the cache if it is there.

    Args:
        candidates: see `find`.
        judge: see `find`.
        placements: the engine's enumeration of placements.
        key: all that the result depends on besides the arguments: model, crops, versions.
        prefer: see `find`.
        effort: see `find`.
        report: receives the progress.

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
        # The search compares times, which depend on the processor.
        "processor": processor_name(),
        "cores": os.cpu_count(),
        # It computes the rounded weights and the corrected biases for every runtime.
        "onnxruntime": version("onnxruntime"),
        **key,
    }
    text = json.dumps(whole, sort_keys=True)
    return cache_folder("int8") / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _checked(result: SearchResult[PlacementT], key: Mapping[str, Any]) -> SearchResult[PlacementT]:
    """Require that a cached result is complete and consistent."""
    if result.runtime != key["runtime"]:
        raise ValueError(f"it is for the runtime {result.runtime}")
    gained = {name for gain in result.gains for name in gain.names}
    known = {*gained, *(key.get("prefer") or {}).get("float_nodes", ())}
    if unknown := [name for name in result.recipe.float_nodes if name not in known]:
        raise ValueError(f"the gain of {unknown[0]} in float32 is missing")
    if result.recipe not in [trial.recipe for trial in result.trials]:
        raise ValueError("its recipe is not among the trials")
    return result


def _require_writable(folder: Path) -> None:
    probe = folder / ".writable"
    try:
        with replacing_file(probe) as temporary:
            temporary.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(
            f"the int8 search cannot cache its result in {folder}: {error}",
            fix="set ELIR_EDGE_CACHE to a writable folder",
        ) from error
