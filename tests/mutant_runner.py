"""Try the pending mutants of one cosmic-ray session (a helper of `mutants.py`).

Run in the copy of the checkout. Each mutant meets pytest in a fork of this process, which has
imported what is slow to import and never changes (PyTorch, ONNX); the project itself is imported
in the fork. The order is random, but the same in every run: two runs over some of the mutants are
over the same ones.
"""

import contextlib
import importlib
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
sys.dont_write_bytecode = True
sys.path[0] = os.getcwd()

from tests.mutant_coverage import OnlyThese, Record, file_of  # noqa: E402
from tests.mutant_order import place_of  # noqa: E402

_PATIENCE = 4
_LEAST_SECONDS = 10
_SLOW_TO_IMPORT = ("torch", "onnx", "onnxruntime", "PIL.Image", "pytest", "hypothesis", "numpy")


def main(session: str, known: str, seconds: float, options: Sequence[str]) -> None:
    """Try mutants until none is left or the time is over."""
    from cosmic_ray.work_db import WorkDB, use_db

    for name in _SLOW_TO_IMPORT:
        importlib.import_module(name)
    record = Record(**json.loads(Path(known).read_text()))
    end = time.monotonic() + seconds
    with use_db(session, WorkDB.Mode.open) as database:
        pending = sorted(database.pending_work_items, key=place_of)
        for done, item in enumerate(pending):
            if time.monotonic() >= end:
                return
            database.set_result(item.job_id, _try(item.mutations[0], record, options))
            print(f"\r  {done + 1} of {len(pending)}", end="", file=sys.stderr, flush=True)


def _try(mutation: Any, record: Record, options: Sequence[str]) -> Any:
    from cosmic_ray import plugins
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    operator = plugins.get_operator(mutation.operator_name)(**mutation.operator_args)
    with contextlib.ExitStack() as stack:
        try:
            before, after = stack.enter_context(
                use_mutation(mutation.module_path, operator, mutation.occurrence)
            )
        except AttributeError:
            after = None  # cosmic-ray 8.7 cannot replace exceptions that are named with a dot
        if after is None:
            return WorkResult(worker_outcome=WorkerOutcome.SKIPPED)
        lines = range(mutation.start_pos[0], mutation.end_pos[0] + 1)
        survived = _survives(mutation.module_path, lines, record, options)
        diff = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
        return WorkResult(
            worker_outcome=WorkerOutcome.NORMAL,
            test_outcome=TestOutcome.SURVIVED if survived else TestOutcome.KILLED,
            diff="\n".join(diff),
        )


def _survives(module: Path, lines: range, record: Record, options: Sequence[str]) -> bool:
    """Run tests until one fails.

    Those that run the lines find most. What they do not find may be seen by others of their files
    that share a fixture. Where no test is known to run the lines, all are tried.
    """
    near = record.covering(str(module), lines)
    if not near:
        timeout = _allowance(record.seconds_of(record.seconds))
        return run_tests(nearest_first(module, options), timeout)
    around = record.in_files_of(near)
    return all(
        run_tests(only(tests, options), _allowance(record.seconds_of(tests)), tests)
        for tests in ([near] if len(around) == len(near) else [near, around])
    )


def _allowance(seconds: float) -> float:
    return _LEAST_SECONDS + 3 * seconds


def nearest_first(module: Path, options: Sequence[str]) -> list[str]:
    """Return pytest's options with the folders opened and the module's own test file first."""
    opened = [name for option in options for name in _opened(option)]
    own = {f"test_{module.stem}.py", f"test_{module.parent.name}.py"}
    return sorted(opened, key=lambda name: Path(name).name not in own)


def only(tests: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return pytest's options with just the files that some tests lie in."""
    flags = [option for option in options if not Path(option).exists()]
    return [*flags, *dict.fromkeys(map(file_of, tests))]


def _opened(option: str) -> Iterator[str]:
    path = Path(option)
    if path.is_dir():
        yield from (str(file) for file in sorted(path.rglob("test_*.py")))
    else:
        yield option


def run_tests(options: Sequence[str], timeout: float, tests: Sequence[str] | None = None) -> bool:
    """Run pytest in a fork; return whether all tests passed within the timeout.

    Args:
        options: pytest's.
        timeout: CPU seconds of one process, and the fourth part of the seconds that all may take:
            a busy machine is no reason to call a mutant killed.
        tests: those to run; None: all that the options choose.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(timeout), math.ceil(timeout)))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        import pytest

        plugins = [] if tests is None else [OnlyThese(tests)]
        os._exit(int(pytest.main(list(options), plugins=plugins)))
    end = time.monotonic() + _PATIENCE * timeout
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            _end_group(child)
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    _end_group(child)
    os.waitpid(child, 0)
    return False


def _end_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing that the tests began is left


if __name__ == "__main__":
    _session, _known, _seconds, *_options = sys.argv[1:]
    main(_session, _known, float(_seconds), _options)
