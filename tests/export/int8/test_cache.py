"""Search results that are kept: by all that they depend on, and never lost."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from elir_edge.errors import ExportError
from export.int8 import cache
from export.int8.cache import cached
from export.int8.search import SearchResult
from export.qdq.placements import QdqPlacement
from tests.export.int8.results import RESULT

Result = SearchResult[QdqPlacement]
_KEY: dict[str, Any] = {"graph": "a", "runtime": "onnxruntime"}


class _Searches:
    """The searches that the cache asked for, counted, and what it told."""

    def __init__(self) -> None:
        self.count, self.told = 0, list[str]()

    def find(self, key: dict[str, Any] = _KEY, result: Result = RESULT) -> Result:
        def search() -> Result:
            self.count += 1
            return result

        return cached(key, search, QdqPlacement, self.told.append)


@pytest.fixture
def searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Searches:
    monkeypatch.setenv("ELIR_EDGE_CACHE", str(tmp_path))
    return _Searches()


def test_found_once(searches: _Searches, tmp_path: Path) -> None:
    assert searches.find() == RESULT
    assert searches.find() == RESULT
    assert (searches.count, searches.told) == (1, [])
    assert [path.suffix for path in (tmp_path / "int8").iterdir()] == [".json"]


@pytest.mark.parametrize(
    "change", [{"graph": "b"}, {"prefer": {"float_nodes": []}}, {"version": "2"}, {"repair": True}]
)
def test_another_question_is_another_search(searches: _Searches, change: dict[str, Any]) -> None:
    searches.find()
    searches.find(_KEY | change)
    assert searches.count == 2


def test_so_are_other_processors_cores_and_onnxruntimes(
    searches: _Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For OpenVINO too: ONNX Runtime rounds the weights of its graph."""
    searches.find()
    monkeypatch.setattr(cache, "processor_name", lambda: "another")
    searches.find()
    monkeypatch.setattr(os, "cpu_count", lambda: 1000)
    searches.find()
    monkeypatch.setattr(cache, "version", lambda package: "0.0.1")
    searches.find()
    assert searches.count == 4


def _of_another_runtime(text: str) -> str:
    return text.replace("onnxruntime", "openvino")


def _without_wins(text: str) -> str:
    values = json.loads(text)
    return json.dumps({**values, "gains": []})


def _untried(text: str) -> str:
    return text.replace('"estimator": "mse"', '"estimator": "minmax"', 1)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda text: text[:-9], "unusable"),
        (lambda text: "[]", "unusable"),
        (lambda text: "{}", "unusable"),
        (_of_another_runtime, "it is for the runtime openvino"),
        (_without_wins, "the gain of node_a in float32 is missing"),
        (_untried, "is not among the trials"),
    ],
)
def test_what_is_damaged_is_found_anew(
    searches: _Searches, tmp_path: Path, damage: Any, why: str
) -> None:
    searches.find()
    (path,) = (tmp_path / "int8").iterdir()
    path.write_text(damage(path.read_text()))
    assert searches.find() == RESULT
    assert searches.count == 2
    (told,) = searches.told
    assert why in told
    assert "searching again" in told
    # What was kept instead is sound.
    assert searches.find() == RESULT
    assert searches.count == 2


def test_a_shared_recipe_is_explained_by_the_other_s_wins(searches: _Searches) -> None:
    shared = dataclasses.replace(RESULT, gains=[])
    key = _KEY | {"prefer": {"float_nodes": ["node_a"]}}
    searches.find(key, shared)
    assert searches.find(key, shared) == shared
    assert searches.count == 1


def test_a_folder_that_takes_nothing_is_noticed_before_the_search(
    searches: _Searches, tmp_path: Path
) -> None:
    (tmp_path / "int8").write_text("a file where the folder should be")
    with pytest.raises(ExportError, match=r"cannot cache its result in .*int8.*ELIR_EDGE_CACHE"):
        searches.find()
    assert searches.count == 0


def test_a_full_disk_loses_nothing(
    searches: _Searches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_require_writable", lambda folder: None)
    (tmp_path / "int8").write_text("a file where the folder should be")
    assert searches.find() == RESULT
    (told,) = searches.told
    assert "could not be cached" in told
