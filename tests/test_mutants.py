"""The mutation tool's arithmetic, without making mutants."""

from pathlib import Path

import pytest

from elir_edge.errors import UsageError
from tests import mutants
from tests.mutants import PACKAGES, Score, Survivor

ROOT = Path(__file__).parents[1]


def _survivor(reason: str | None) -> Survivor:
    return Survivor(module="m.py", line=1, operator="o", diff="-a\n+b", reason=reason)


def test_scores_leave_out_what_changes_nothing() -> None:
    score = Score(
        package="p", mutants=50, tried=20, killed=17, survivors=[_survivor(None), _survivor("why")]
    )
    assert score.counted == 19
    low, high = score.interval()
    # Wilson, 17 of 19: centre (0.8947 + 0.1011) / 1.2022 = 0.8283, half width 0.1418.
    assert (low, high) == (pytest.approx(0.6861, abs=1e-3), pytest.approx(0.9706, abs=1e-3))
    found = mutants._as_json([score])["p"]
    assert (found["share"], found["equivalent"], len(found["survivors"])) == (0.895, 1, 1)
    assert Score(package="p", mutants=5, tried=0, killed=0).interval() == (0.0, 1.0)


def test_every_package_is_there() -> None:
    for package in PACKAGES.values():
        for path in (*package.modules, *package.tests):
            assert (ROOT / path).exists(), path


def test_only_changed_lines_are_compared() -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n same\n-x = 1\n+x = 2\n"
    assert mutants._changed_lines(diff) == "-x = 1\n+x = 2"


def test_unknown_packages() -> None:
    with pytest.raises(UsageError, match="unknown packages flows; expected some of flow, model"):
        mutants._parse("flow,flows")


def test_mutants_that_change_nothing_are_told_by_lines_or_pattern() -> None:
    listed = [
        mutants._Equivalent(module="a/*.py", reason="lines", diff="-x\n+y"),
        mutants._Equivalent(module="a/b.py", reason="pattern", pattern=r"-.*\n\+.*indent=[13]"),
    ]
    assert mutants._reason(listed, "a/c.py", "-x\n+y") == "lines"
    assert mutants._reason(listed, "b/c.py", "-x\n+y") is None
    assert mutants._reason(listed, "a/b.py", "-indent=2\n+indent=3") == "pattern"
    assert mutants._reason(listed, "a/c.py", "-indent=2\n+indent=3") is None


def test_every_equivalent_has_a_reason() -> None:
    for each in mutants._equivalents():
        assert each.reason
        assert (each.diff is None) != (each.pattern is None)
