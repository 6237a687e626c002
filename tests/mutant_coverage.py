"""Which tests run which lines (a helper of `mutants.py`).

    python tests/mutant_coverage.py OUT.json MODULES -- OPTIONS OF PYTEST

Runs pytest in the current folder and ends with its code; `OUT.json` maps each file below the
modules to its lines, and each line to the tests that ran it. Lines that only imports ran, or
only other processes, have no tests.
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

TestsOfLines = dict[str, dict[str, list[str]]]
"""By file and line number; tests by pytest's node identifiers."""


class Recorder:
    """A plugin of pytest that says which test is running."""

    def __init__(self, modules: Sequence[str]) -> None:
        import coverage

        paths = [f"{module}/*" if Path(module).is_dir() else module for module in modules]
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=paths)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Give what follows the test's name."""
        self.coverage.switch_context(item.nodeid)
        result = yield
        self.coverage.switch_context("")
        return result

    def tests_of_lines(self) -> TestsOfLines:
        """Return what was recorded."""
        data, found = self.coverage.get_data(), {}
        for file in sorted(data.measured_files()):
            lines = data.contexts_by_lineno(file).items()
            found[os.path.relpath(file)] = {
                str(line): tests
                for line, contexts in lines
                if (tests := sorted({*contexts} - {""}))
            }
        return found


class OnlyThese:
    """A plugin of pytest that leaves out all tests but some."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._tests = {*tests}

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep these."""
        items[:] = [item for item in items if item.nodeid in self._tests]


def covering(known: TestsOfLines, module: str, lines: range) -> list[str]:
    """Return the tests that ran one of some lines, those of small files of tests first."""
    chosen = {test for line in lines for test in known.get(module, {}).get(str(line), ())}
    by_file: dict[str, list[str]] = defaultdict(list)
    for test in sorted(chosen):
        by_file[test.partition("::")[0]].append(test)
    return [
        test for file in sorted(by_file, key=lambda f: len(by_file[f])) for test in by_file[file]
    ]


def main(out: str, arguments: Sequence[str]) -> int:
    """Run pytest and write what it recorded; return its code."""
    end = list(arguments).index("--")
    recorder = Recorder(arguments[:end])
    with recorder.coverage.collect():
        code: Any = pytest.main(list(arguments[end + 1 :]), plugins=[recorder])
    Path(out).write_text(json.dumps(recorder.tests_of_lines()))
    return int(code)


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    sys.exit(main(sys.argv[1], sys.argv[2:]))
