"""Which recipe the search takes, by times and qualities that are made up."""

import contextlib
from collections.abc import Iterator, Mapping

import pytest

from elir_edge.errors import BackendError, ExportError
from export.int8 import search as search_module
from export.int8.judge import Quality
from export.int8.recipe import BY_RUNTIME, Recipe
from export.int8.search import Finding, Search, Trial

_TIMES = {"all": 10.0, "all_but_sums": 10.5, "all_but_trunks": 12.0, "convolutions": 20.0}
_FLOATS = ("node_a", "node_b")


def _find(
    monkeypatch: pytest.MonkeyPatch,
    lost: Mapping[str, float],
    times: Mapping[str, float] = _TIMES,
    *,
    floats_win: float = 0.0,
    prefer: str | None = None,
) -> Finding:
    """Search where a placement loses so much, and each convolution in float wins so much."""

    def judged(self: Search, recipe: Recipe, runtime: str) -> Trial:
        loses = lost[recipe.placement] - floats_win * len(recipe.float_nodes)
        return Trial.of(recipe, Quality(psnr_db=45.0, worst_psnr_db=44.0, lost_db=loses))

    monkeypatch.setattr(Search, "_try", judged)
    refused = {name: "too new" for name in BY_RUNTIME["onnxruntime"] if name not in times}
    monkeypatch.setattr(Search, "_time_placements", lambda self, runtime: (dict(times), refused))
    monkeypatch.setattr(
        Search, "_time", lambda self, recipes, runtime: [times[r.placement] + 5 for r in recipes]
    )
    monkeypatch.setattr(Search, "_blame", lambda self, *_: ({}, dict.fromkeys(_FLOATS, 0.1)))
    preferred = Recipe(placement=prefer, estimator="minmax") if prefer else None
    search = object.__new__(Search)
    search._costs = dict.fromkeys(_FLOATS, 1)
    return search.find("onnxruntime", preferred)


def _losing(**lost: float) -> dict[str, float]:
    return dict.fromkeys(_TIMES, 0.2) | lost


def test_the_fastest_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _find(monkeypatch, _losing(all_but_sums=0.01, all_but_trunks=0.01))
    assert (found.recipe.placement, found.recipe.float_nodes, found.passed) == (
        "all_but_sums",
        (),
        True,
    )


def test_a_tie_goes_to_what_rounds_less(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = dict.fromkeys(_TIMES, 0.01)
    assert _find(monkeypatch, everywhere).recipe.placement == "all_but_sums"
    # The twin: more than a tie apart.
    apart = {**_TIMES, "all": 9.0}
    assert _find(monkeypatch, everywhere, apart).recipe.placement == "all"


def test_floats_only_where_no_placement_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _find(monkeypatch, _losing(all_but_trunks=0.04), floats_win=0.1)
    assert (found.recipe.placement, found.recipe.float_nodes) == ("all_but_trunks", ())
    assert not any(trial.recipe.float_nodes for trial in found.trials)
    found = _find(monkeypatch, _losing(), floats_win=0.1)
    assert (found.recipe.float_nodes, found.passed) == (_FLOATS, True)


def test_the_least_loss_where_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _find(monkeypatch, _losing(all_but_trunks=0.15))
    assert (found.recipe.placement, found.passed) == ("all_but_trunks", False)


def test_anothers_file_is_shared_where_it_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = _losing(all=0.03, all_but_sums=0.03, all_but_trunks=0.01, convolutions=0.0)
    assert _find(monkeypatch, lost, prefer="all").recipe.placement == "all"
    # The twins: one that is slower, one that loses more.
    assert _find(monkeypatch, lost, prefer="convolutions").recipe.placement == "all_but_sums"
    apart = {**_TIMES, "all_but_trunks": 9.9}
    assert _find(monkeypatch, lost, apart, prefer="all").recipe.placement == "all_but_trunks"


def test_refused_placements_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _find(monkeypatch, dict.fromkeys(_TIMES, 0.01))
    assert found.refused == {"convolution_inputs": "too new"}
    assert Finding.from_json(found.to_json()) == found


def test_a_runtime_that_takes_no_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportError, match=r"onnxruntime takes int8 in no placement; got all_but_t"):
        _find(monkeypatch, {}, {"float32": 1.0})


def test_a_refusal_is_caught_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Placements are tried as the runtime takes them, those that it refuses are not timed."""

    @contextlib.contextmanager
    def refusing(model: str, runtime: str) -> Iterator[None]:
        if model != "all":
            raise BackendError(f"{model} is not for me")
        yield

    monkeypatch.setattr(search_module, "running", refusing)
    monkeypatch.setattr(Search, "make", lambda self, recipe: recipe.placement)
    monkeypatch.setattr(Search, "_time", lambda self, recipes, runtime: [3.0, 1.234])
    search = object.__new__(Search)
    search._report = lambda text: None
    milliseconds, refused = search._time_placements("onnxruntime")
    assert milliseconds == {"float32": 3.0, "all": 1.23}
    assert set(refused) == set(BY_RUNTIME["onnxruntime"]) - {"all"}
    assert "is not for me" in refused["convolutions"]
