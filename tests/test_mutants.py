"""The mutation tool's arithmetic, without making mutants."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from elir_edge.errors import UsageError
from tests import mutants
from tests.mutant_coverage import Record
from tests.mutants import PACKAGES, RECORDER, Score, Survivor

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


def test_only_commits_name_folders() -> None:
    """Anything else might be a path, whose folder would be deleted, or an option of git."""
    assert mutants._commit(None) is None
    head = mutants._commit("HEAD")
    assert head is not None
    assert re.fullmatch("[0-9a-f]{40}", head)
    for other in ("", "..", "../../elsewhere", "/somewhere", "--output=file", "nocommit"):
        with pytest.raises(UsageError, match=r"no commit .*fix: see git log"):
            mutants._commit(other)


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


_RECORD = Record(
    seconds={
        "t/test_b.py::one": 2.0,
        "t/test_b.py::two": 1.0,
        "t/test_a.py::three[x::y]": 2.5,
        "t/test_a.py::four": 4.0,
    },
    lines={
        "m.py": {
            "3": ["t/test_b.py::two", "t/test_b.py::one", "t/test_a.py::three[x::y]"],
            "4": ["t/test_b.py::two"],
            "9": [],
        }
    },
)


def test_the_tests_of_a_line_are_those_that_run_it_quick_files_first() -> None:
    first = _RECORD.covering("m.py", range(3, 5))
    assert first == ["t/test_a.py::three[x::y]", "t/test_b.py::one", "t/test_b.py::two"]
    assert _RECORD.covering("m.py", range(4, 5)) == ["t/test_b.py::two"]
    assert _RECORD.covering("m.py", range(9, 12)) == []
    assert _RECORD.covering("n.py", range(3, 4)) == []


def test_the_rest_of_their_files_comes_next() -> None:
    around = _RECORD.in_files_of(["t/test_a.py::three[x::y]"])
    assert around == ["t/test_a.py::three[x::y]", "t/test_a.py::four"]
    assert _RECORD.seconds_of(around) == 6.5


_MODULE = """\
LIMIT = 5


def double(number):
    return 2 * number


def unused():
    return LIMIT
"""
_TESTS = """\
from package.module import double


def test_other():
    assert True


def test_double():
    assert double(2) == 4
"""


def test_lines_are_known_by_the_tests_that_run_them(tmp_path: Path) -> None:
    pytest.importorskip("coverage", reason="make mutants installs it")
    for name, text in (("package/module.py", _MODULE), ("tests/test_module.py", _TESTS)):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text)
    options = ["-q", "-p", "no:cacheprovider", "tests"]
    command = [sys.executable, RECORDER, tmp_path / "known.json", "package", "--", *options]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
    record = Record(**json.loads((tmp_path / "known.json").read_text()))
    known = record.lines["package/module.py"]
    assert list(record.seconds) == [f"tests/test_module.py::test_{n}" for n in ("other", "double")]
    assert known["5"] == ["tests/test_module.py::test_double"]
    assert not known.get("1")  # an import has run it
    assert not known.get("9")
