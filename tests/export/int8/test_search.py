"""Which recipe the search takes, by times and qualities that are made up."""

import itertools
from typing import Any

import pytest

from elir_edge.errors import ExportError
from export.int8 import search as search_module
from export.int8.cost import Gain
from export.int8.recipe import Recipe
from export.int8.search import Effort, SearchResult
from tests.export.int8.candidates import MadeUp, Place, search

_TIMES = {"everything": 10.0, "sums": 10.5, "trunks": 12.0, "convolutions": 20.0, "changing": 5.0}
_PASSES, _MISSES = 0.01, 0.2


def _losing(**lost: float) -> dict[str, float]:
    return dict.fromkeys(_TIMES, _MISSES) | lost


def _plain(placement: Place) -> Recipe[Place]:
    return Recipe(placement=placement, estimator="minmax")


def test_the_fastest_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp(_TIMES, _losing(sums=_PASSES, trunks=_PASSES))
    found = search(made_up, monkeypatch)
    assert (found.recipe, found.passed) == (_plain(Place.SUMS), True)
    assert made_up.judged == [trial.recipe for trial in found.trials]  # and nothing else
    # In order: all of the fastest placement, then the next one's estimators, then no more.
    tried = [(t.recipe.placement, t.recipe.estimator, t.recipe.corrected) for t in found.trials]
    assert tried == [
        ("sums", "minmax", False),
        ("sums", "mse", False),
    ]


def test_a_tie_goes_to_what_rounds_less(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = dict.fromkeys(_TIMES, _PASSES)
    assert search(MadeUp(_TIMES, everywhere), monkeypatch).recipe.placement is Place.SUMS
    # The twin: more than a tie apart.
    apart = {**_TIMES, "everything": 9.0}
    assert search(MadeUp(apart, everywhere), monkeypatch).recipe.placement is Place.EVERYTHING


def test_the_better_estimator(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp(_TIMES, _losing(sums=_PASSES), estimator_wins=0.005)
    assert search(made_up, monkeypatch).recipe.estimator == "mse"
    made_up = MadeUp(_TIMES, _losing(sums=_PASSES), estimator_wins=-0.005)
    assert search(made_up, monkeypatch).recipe.estimator == "minmax"


def test_biases_are_corrected_where_the_estimators_do_not_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = search(MadeUp(_TIMES, _losing(), correction_wins=0.19), monkeypatch)
    assert (found.recipe.placement, found.recipe.corrected) == (Place.SUMS, True)
    # The twin: an engine whose biases come as they are.
    found = search(MadeUp(_TIMES, _losing(), correction_wins=0.19, corrects=False), monkeypatch)
    assert not any(trial.recipe.corrected for trial in found.trials)
    assert not found.passed


def test_floats_only_where_no_placement_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    wins = {"latent_a": 0.1, "latent_b": 0.1}
    found = search(MadeUp(_TIMES, _losing(trunks=_PASSES), wins=wins), monkeypatch)
    assert found.recipe == _plain(Place.TRUNKS)
    assert (found.stages, found.gains) == ({}, [])
    found = search(MadeUp(_TIMES, _losing(), wins=wins), monkeypatch)
    assert (set(found.recipe.float_nodes), found.passed) == ({"latent_a", "latent_b"}, True)
    assert found.recipe.placement is Place.EVERYTHING  # 12 ms with them, `sums` 12.5


def test_only_three_placements_are_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fourth, which would pass, is too slow to be looked at."""
    lost = _losing(convolutions=_PASSES)
    found = search(MadeUp(_TIMES, lost), monkeypatch)
    assert {trial.recipe.placement for trial in found.trials} == {
        *(Place.SUMS, Place.EVERYTHING, Place.TRUNKS),
        Place.CHANGING,
    }


def test_blame_names_stages_and_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages alone are judged with nothing but convolutions rounded; layers where they are."""
    wins = {"latent_a": 0.03, "coarse_b": 0.05, "decoded_a": -0.1}
    made_up = MadeUp(_TIMES, _losing(), wins=wins)
    found = search(made_up, monkeypatch)
    # With the others in float32: 50 - 10 (0.2 - what they win).
    assert found.stages == {"latent": 47.5, "coarse": 47.3, "decoded": 48.8}
    # Of the two worst stages only, those that win, most first.
    assert found.gains == [
        Gain(names=("coarse_b",), gain_db=0.05),
        Gain(names=("latent_a",), gain_db=0.03),
    ]
    alone = [r for r in made_up.judged if len(r.float_nodes) == 4]
    assert {r.placement for r in alone} == {Place.CONVOLUTIONS}


def test_many_convolutions_are_rated_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_MAX_BLOCKS", 2)
    wins = {"latent_a": 0.03, "latent_b": 0.01, "coarse_b": 0.05}
    found = search(MadeUp(_TIMES, _losing(), wins=wins), monkeypatch)
    assert found.gains == [
        Gain(names=("coarse_a", "coarse_b"), gain_db=0.05),
        Gain(names=("latent_a", "latent_b"), gain_db=0.04),
    ]


@pytest.mark.parametrize(("bad", "rated"), [(2, True), (3, False)])
def test_no_floats_where_more_stages_are_bad_than_floats_can_mend(
    bad: int, rated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 35 dB and the margin of 3 a stage is good; 0.01 dB below it is bad."""
    worst = dict.fromkeys(["latent", "coarse", "decoded"], 38.0)
    worst |= dict.fromkeys([*worst][:bad], 37.99)
    made_up = MadeUp(_TIMES, _losing(), wins={"latent_a": 0.01}, worst=worst)
    found = search(made_up, monkeypatch)
    assert not found.passed
    assert len(found.stages) == 3
    placements = {t.recipe.placement for t in found.trials} - {Place.CHANGING}
    assert len(placements) == (3 if rated else 1)
    assert any(t.recipe.float_nodes for t in found.trials) == rated


def test_the_fastest_repaired_one_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Floats cost 1 ms each: two on the slower placement beat six on the faster one."""
    times = {"everything": 10.0, "sums": 12.0, "trunks": 40.0, "convolutions": 80.0}
    wins = dict.fromkeys(
        ["latent_a", "latent_b", "coarse_a", "coarse_b"],
        0.03,
    )
    lost = {"everything": 0.18, "sums": 0.12, "trunks": 0.5, "convolutions": 0.5}
    made_up = MadeUp(times, lost, wins=wins, float_takes=2.0)
    found = search(made_up, monkeypatch)
    assert (found.recipe.placement, len(found.recipe.float_nodes)) == (Place.SUMS, 2)
    # The twin: floats that cost next to nothing.
    made_up = MadeUp(times, lost, wins=wins, float_takes=0.1)
    found = search(made_up, monkeypatch)
    assert (found.recipe.placement, len(found.recipe.float_nodes)) == (Place.EVERYTHING, 4)


def test_last_resorts_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    found = search(MadeUp(_TIMES, _losing(changing=_PASSES)), monkeypatch)
    assert (found.recipe, found.passed) == (_plain(Place.CHANGING), True)
    found = search(MadeUp(_TIMES, _losing(changing=_PASSES, trunks=_PASSES)), monkeypatch)
    assert found.recipe.placement is Place.TRUNKS


def test_the_least_loss_where_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = search(MadeUp(_TIMES, _losing(trunks=0.15)), monkeypatch)
    assert (found.recipe.placement, found.passed) == (Place.TRUNKS, False)


def test_a_first_look_takes_the_first_placement_that_the_engine_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_up = MadeUp(_TIMES, _losing(trunks=0.15))
    found = search(made_up, monkeypatch, effort=Effort.FIRST)
    assert (found.recipe.placement, found.recipe.estimator) == (Place.TRUNKS, "mse")
    assert (len(found.trials), found.milliseconds, found.passed) == (1, {}, False)
    without = {place: time for place, time in _TIMES.items() if place != Place.TRUNKS}
    found = search(MadeUp(without, _losing(sums=0.15)), monkeypatch, effort=Effort.FIRST)
    assert found.recipe.placement is Place.SUMS
    assert found.refused == {"trunks": "trunks is too new"}
    shared = search(
        MadeUp(_TIMES, _losing(trunks=0.15)),
        monkeypatch,
        prefer=_plain(Place.EVERYTHING),
        effort=Effort.FIRST,
    )
    assert shared.recipe == _plain(Place.EVERYTHING)
    with pytest.raises(ExportError, match="supports no placement of int8"):
        search(MadeUp({}, {}), monkeypatch, effort=Effort.FIRST)


def test_without_repair_the_fastest_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp(_TIMES, _losing(trunks=_PASSES), correction_wins=0.19)
    found = search(made_up, monkeypatch, effort=Effort.FASTEST)
    assert (found.recipe, found.passed) == (_plain(Place.SUMS), False)
    assert len(found.trials) == 2


def test_anothers_file_is_shared_where_it_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = _losing(everything=0.03, sums=0.03, trunks=0.01, convolutions=0.0)

    def shared(times: dict[str, float], prefer: Place) -> Place:
        found = search(MadeUp(times, lost), monkeypatch, prefer=_plain(prefer))
        return found.recipe.placement

    assert shared(_TIMES, Place.EVERYTHING) is Place.EVERYTHING
    # The twins: one that is slower, one that loses more.
    assert shared(_TIMES, Place.CONVOLUTIONS) is Place.SUMS
    lost = {**lost, "sums": 0.0, "everything": search_module._SAME_LOST}
    assert shared(_TIMES, Place.EVERYTHING) is Place.EVERYTHING  # just the same
    lost["everything"] *= 1.01
    assert shared(_TIMES, Place.EVERYTHING) is Place.SUMS
    lost = _losing(everything=0.03, sums=0.03, trunks=0.01, convolutions=0.0)
    apart = {**_TIMES, "trunks": 9.9}
    assert shared(apart, Place.EVERYTHING) is Place.TRUNKS


def test_a_runtime_that_is_not_here_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp(_TIMES, _losing(trunks=0.05), timed=False, symmetric=True)
    found = search(made_up, monkeypatch)
    assert (found.milliseconds, found.recipe.placement) == ({}, Place.TRUNKS)
    assert found.recipe.symmetric
    # Repaired all the same.
    wins = {"latent_a": 0.1, "latent_b": 0.1}
    found = search(MadeUp(_TIMES, _losing(), wins=wins, timed=False), monkeypatch)
    assert found.passed
    assert found.recipe.float_nodes


def test_a_recipe_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp(_TIMES, _losing(trunks=_PASSES))
    search(made_up, monkeypatch, prefer=_plain(Place.SUMS))
    assert made_up.judged.count(_plain(Place.SUMS)) == 1


def test_refused_placements_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {name: time for name, time in _TIMES.items() if name != "sums"}
    found = search(MadeUp(times, dict.fromkeys(_TIMES, _PASSES)), monkeypatch)
    assert found.refused == {"sums": "sums is too new"}
    # The undisturbed turns count.
    assert found.milliseconds == {"float32": 100.0} | times
    assert SearchResult.from_json(found.to_json(), Place) == found


def test_a_runtime_that_takes_no_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportError, match=r"made-up supports no placement of int8; got trunks: "):
        search(MadeUp({}, {}), monkeypatch)


def test_a_result_of_another_engine_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from export.qdq.placements import QdqPlacement

    found = search(MadeUp(_TIMES, dict.fromkeys(_TIMES, _PASSES)), monkeypatch)
    with pytest.raises(ValueError, match="sums"):
        SearchResult.from_json(found.to_json(), QdqPlacement)


@pytest.mark.parametrize("order", list(itertools.permutations([50.0, 60.0, 70.0, 80.0])))
def test_few_models_are_loaded_at_once(
    order: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The float32 one, a placement, and the fastest before it, which is not loaded again."""
    names = ("trunks", "sums", "everything", "convolutions")
    times = {**dict(zip(names, order, strict=True)), "changing": 90.0}
    made_up = MadeUp(times, dict.fromkeys(times, 0.01))
    result = search(made_up, monkeypatch)
    assert made_up.most_loaded == 3
    assert not made_up.loaded
    chosen = result.recipe.placement.value
    assert times[chosen] == 50.0
    timed = made_up.loads[: 1 + len(times)]
    assert timed[0] is None
    assert [recipe.placement.value for recipe in timed[1:] if recipe] == list(Place)
    assert made_up.loads.count(_plain(Place(chosen))) == 1
    assert result.milliseconds == {"float32": 100.0, **times}


def test_a_tie_that_comes_too_late_is_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of 10 % are equal: `sums` is no better than `trunks`, until `everything` is better."""
    times = {"trunks": 100.0, "sums": 95.0, "everything": 88.0}
    made_up = MadeUp(times, dict.fromkeys(Place, 0.01))
    result = search(made_up, monkeypatch)
    assert result.recipe.placement is Place.SUMS
    assert _plain(Place.EVERYTHING) not in made_up.judged
    assert made_up.loads.count(_plain(Place.SUMS)) == 2


def test_all_models_are_released_if_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp({"trunks": 50.0, "sums": 70.0}, dict.fromkeys(Place, 0.01))
    monkeypatch.setattr(made_up, "time", _fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        search(made_up, monkeypatch)
    assert made_up.most_loaded == 2
    assert not made_up.loaded


def _fail(*arguments: object, **options: object) -> list[list[float]]:
    raise RuntimeError("out of memory")


def test_each_placement_gets_four_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp({"trunks": 50.0, "sums": 70.0}, dict.fromkeys(Place, 0.01))
    plain, given = made_up.time, list[tuple[int, float]]()

    def noted(runs: Any, feed: object, *, rounds: int, seconds: float) -> list[list[float]]:
        given.append((rounds, seconds))
        return plain(runs, feed, rounds=rounds, seconds=seconds)

    monkeypatch.setattr(made_up, "time", noted)
    search(made_up, monkeypatch)
    assert given == [(6, 4.0)] * 2


def test_times_are_ratios_to_float32_in_the_same_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is twice as slow while one placement is timed does not change the order."""
    made_up = MadeUp({"trunks": 50.0, "sums": 70.0, "everything": 60.0}, dict.fromkeys(Place, 0.01))
    plain = made_up.time

    def busy(runs: Any, feed: object, **options: Any) -> list[list[float]]:
        slow = 2 if any(r is not None and r.placement is Place.TRUNKS for r in runs) else 1
        return [[slow * time for time in times] for times in plain(runs, feed, **options)]

    monkeypatch.setattr(made_up, "time", busy)
    result = search(made_up, monkeypatch)
    assert result.recipe.placement is Place.TRUNKS
    assert result.milliseconds == {
        "float32": 100.0,
        "trunks": 50.0,
        "sums": 70.0,
        "everything": 60.0,
    }
