"""Which tests run which lines (a helper of `mutants.py`).

    python tests/mutant_coverage.py OUT.json MODULES -- OPTIONS OF PYTEST

Runs pytest in the current folder and ends with its code; `OUT.json` has the seconds of each test
and, for each file below the modules, the tests that ran each line. Lines that only imports ran,
or only other processes, have no tests.
"""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a run of the tests has shown; tests are named by pytest's node identifiers.

    Attributes:
        seconds: of each test, with the fixtures that it was the first to ask for.
        lines: by file and line number, the tests that ran it.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[str, list[str]]]

    def covering(self, module: str, lines: range) -> list[str]:
        """Return the tests that ran one of some lines, those of quick files first."""
        known = self.lines.get(module, {})
        by_file: dict[str, set[str]] = defaultdict(set)
        for line in lines:
            for test in known.get(str(line), ()):
                by_file[file_of(test)].add(test)
        quick_first = sorted(by_file, key=lambda file: self.seconds_of(by_file[file]))
        return [test for file in quick_first for test in sorted(by_file[file])]

    def in_files_of(self, tests: Iterable[str]) -> list[str]:
        """Return all tests of the files that some tests lie in."""
        files = {file_of(test) for test in tests}
        return [test for test in self.seconds if file_of(test) in files]

    def seconds_of(self, tests: Iterable[str]) -> float:
        """Return the seconds of some tests."""
        return sum(self.seconds[test] for test in tests)


def file_of(test: str) -> str:
    """Return the file of a test."""
    return test.partition("::")[0]


class Recorder:
    """A plugin of pytest that says which test is running."""

    def __init__(self, modules: Sequence[str]) -> None:
        import coverage

        paths = [f"{module}/*" if Path(module).is_dir() else module for module in modules]
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=paths)
        self._seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Give what follows the test's name."""
        self.coverage.switch_context(item.nodeid)
        began = time.monotonic()
        result = yield
        self._seconds[item.nodeid] = time.monotonic() - began
        self.coverage.switch_context("")
        return result

    def record(self) -> Record:
        """Return what was recorded."""
        data, found = self.coverage.get_data(), {}
        for file in sorted(data.measured_files()):
            lines = data.contexts_by_lineno(file).items()
            found[os.path.relpath(file)] = {
                str(line): tests
                for line, contexts in lines
                if (tests := sorted({*contexts} - {""}))
            }
        return Record(seconds=self._seconds, lines=found)


class OnlyThese:
    """A plugin of pytest that leaves out all tests but some."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._tests = {*tests}

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep these."""
        items[:] = [item for item in items if item.nodeid in self._tests]


def main(out: str, arguments: Sequence[str]) -> int:
    """Run pytest and write what it recorded; return its code."""
    end = list(arguments).index("--")
    recorder = Recorder(arguments[:end])
    with recorder.coverage.collect():
        code: Any = pytest.main(list(arguments[end + 1 :]), plugins=[recorder])
    Path(out).write_text(json.dumps(asdict(recorder.record())))
    return int(code)


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    sys.exit(main(sys.argv[1], sys.argv[2:]))
