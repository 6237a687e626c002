"""Workers that take turns, on this machine or on the device that this file was copied to.

    python -m benchmarks.speed.turns FOLDER     measures FOLDER/plan.json into FOLDER/result.json

Each row has its own process (`worker.py`). They take turns of a few images each, so that other load
on the machine affects all alike. A turn begins with untimed runs: the turn before leaves cold
caches and threads that wait for more work.
"""

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elir_edge.errors import ElirError
from elir_edge.files import write_json
from elir_edge.machine import processor_name

PLAN, RESULT = "plan.json", "result.json"
KINDS = ("model", "end_to_end")
LEAD = 3
"""Untimed runs at the beginning of a turn."""
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True, kw_only=True)
class TimingProtocol:
    """How much is measured.

    Attributes:
        images: timed runs of each row and kind.
        warmup: untimed runs of each row and kind before the first turn.
        turn: images of a turn.
        outputs: photos whose results are kept, to be compared with float32.
    """

    images: int
    warmup: int
    turn: int
    outputs: int = 8


PAPER = TimingProtocol(images=200, warmup=10, turn=10)
"""200 images after 10 for warming up, one by one, synchronised."""
QUICK = TimingProtocol(images=30, warmup=3, turn=5)
"""The fewest turns that have a confidence interval."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that serves one row.

    Attributes:
        row: the row's name in the result.
        module: what is run, by `python -m`.
        arguments: its arguments; paths are relative to the plan's folder.
        yardstick: not a row but a measure of the machine: the model alone, few runs, no outputs.
    """

    row: str
    module: str
    arguments: tuple[str, ...]
    yardstick: bool = False


@dataclass(frozen=True, kw_only=True)
class TurnPlan:
    """What is measured side by side.

    Attributes:
        workers: in their order of turns.
        protocol: how much of each.
        threads: CPU threads of each.
    """

    workers: tuple[Worker, ...]
    protocol: TimingProtocol
    threads: int

    @classmethod
    def from_json(cls, text: str) -> "TurnPlan":
        """Read what `asdict` gave."""
        found = json.loads(text)
        workers = [Worker(**{**w, "arguments": tuple(w["arguments"])}) for w in found["workers"]]
        return cls(
            workers=tuple(workers),
            protocol=TimingProtocol(**found["protocol"]),
            threads=found["threads"],
        )


Measurements = dict[str, dict[str, Any]]
"""By row: `reason`, or `version`, `macs`, `turns` (kind to a list of turns), `peak_mb`, `outputs`
(a file in the plan's folder), and of all its turns `wall_s`, `own_s`, `busy_s`, `clock_mhz`."""
Told = Callable[[str, int, int, Measurements], None]
"""Gets what is being done, how many images of each are done, of how many, and what is known."""


class _EndedError(Exception):
    """A worker's process ended before it was closed."""


class _Process:
    """A worker's process, and what it has said so far."""

    def __init__(self, worker: Worker, folder: Path, threads: int) -> None:
        root = Path(__file__).resolve().parents[2]
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.worker = worker
        self.found: dict[str, Any] = {"turns": {kind: [] for kind in self.kinds}, "load": []}
        self._process = subprocess.Popen(
            [sys.executable, "-m", worker.module, *worker.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            start_new_session=True,  # Ctrl-C ends this program, which then ends it
            env=os.environ
            | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(paths)},
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return what is timed."""
        return KINDS[:1] if self.worker.yardstick else KINDS

    @property
    def live(self) -> bool:
        """Whether it can be measured."""
        return "reason" not in self.found

    def greet(self) -> None:
        """Read its greeting."""
        with self._noting_its_end():
            self.found |= self._read()

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request and return the answer; {} once the process has ended."""
        with self._noting_its_end():
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return self._read()
        return {}

    def take_turn(self, kind: str, first: int, count: int) -> None:
        """Time a turn and keep its times."""
        found = self.ask(kind=kind, first=first, count=count, lead=LEAD)
        if found:
            self.found["turns"][kind].append(found.pop("milliseconds"))
            self.found["load"].append(found)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    @contextlib.contextmanager
    def _noting_its_end(self) -> Iterator[None]:
        try:
            yield
        except (_EndedError, BrokenPipeError):
            code = self._process.wait()
            self.found = {"reason": f"its process ended early (exit code {code})"}

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] | None = read_answer(self._process.stdout)
        if found is None:
            raise _EndedError
        return found


def read_answer(lines: Iterable[str]) -> Any:
    """Return the next line of JSON that a worker printed; None: there is none."""
    for line in lines:
        with contextlib.suppress(ValueError):  # a library's own line
            return json.loads(line)
    return None


def measure(plan: TurnPlan, folder: Path, told: Told = lambda *news: None) -> Measurements:
    """Start all workers, let them take turns, and return what they said.

    Args:
        plan: paths in its workers' arguments are relative to `folder`.
        folder: where outputs are written.
        told: called after each round of turns.
    """
    protocol = plan.protocol
    processes: list[_Process] = []
    try:
        for number, worker in enumerate(plan.workers, start=1):
            processes.append(_Process(worker, folder, plan.threads))
            _begin(processes[-1], protocol)
            told("warming up", number, len(plan.workers), {})
        for first in range(0, protocol.images, protocol.turn):
            count = min(protocol.turn, protocol.images - first)
            for process in processes:
                few = min(count, LEAD) if process.worker.yardstick else count
                for kind in process.kinds:
                    if process.live:
                        process.take_turn(kind, first, few)
            told("images", first + count, protocol.images, _known(processes))
        for number, process in enumerate(processes):
            _finish(process, protocol, f"outputs-{number}.npy")
    finally:
        for process in processes:
            process.close()
    return _known(processes)


def _begin(process: _Process, protocol: TimingProtocol) -> None:
    """Wait until it is ready, and warm it up."""
    process.greet()
    for kind in process.kinds:
        if process.live:
            process.ask(kind=kind, first=0, count=0, lead=protocol.warmup)


def _finish(process: _Process, protocol: TimingProtocol, name: str) -> None:
    """Ask for the memory, and then for the results of some photos."""
    if process.live:
        process.found |= process.ask(kind="memory")
    if process.live and not process.worker.yardstick and protocol.outputs:
        process.ask(kind="outputs", count=protocol.outputs, path=name)
        if process.live:
            process.found["outputs"] = name


def _known(processes: list[_Process]) -> Measurements:
    return {process.worker.row: _summed(process.found) for process in processes}


def _summed(found: dict[str, Any]) -> dict[str, Any]:
    """Add up a row's load over its turns; the clock is the mean."""
    if "load" not in found:
        return dict(found)
    rest = {name: value for name, value in found.items() if name != "load"}
    for name in ("wall_s", "own_s", "busy_s", "clock_mhz"):
        values = [load[name] for load in found["load"]]
        known = bool(values) and None not in values
        rest[name] = (sum(values) / (len(values) if name == "clock_mhz" else 1)) if known else None
    return rest


def machine() -> dict[str, Any]:
    """Return facts about the machine; comparisons require `processor`, `cores` and `system`."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "governor": _GOVERNOR.read_text(encoding="ascii").strip() if _GOVERNOR.is_file() else None,
        "python": platform.python_version(),
    }


def load_average() -> list[float] | None:
    """Return the system's load over 1, 5 and 15 minutes; None where it has none."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def now() -> str:
    """Return the time, as text."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def measure_folder(folder: Path, told: Told) -> None:
    """Measure a folder's plan and write the result beside it."""
    plan = TurnPlan.from_json((folder / PLAN).read_text(encoding="utf-8"))
    result: dict[str, Any] = {"started": now(), "load_before": load_average()}
    result["rows"] = measure(plan, folder, told)
    write_json(folder / RESULT, {**result, "load_after": load_average(), "machine": machine()})


def write_plan(folder: Path, plan: TurnPlan) -> None:
    """Write a plan where `measure_folder` reads it."""
    write_json(folder / PLAN, asdict(plan))


def read_result(folder: Path) -> dict[str, Any]:
    """Read what `measure_folder` wrote.

    Raises:
        ElirError: there is none.
    """
    try:
        found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ElirError("the device gave no result", got=str(error)) from error
    return found


def _say(phase: str, done: int, total: int, known: Measurements) -> None:
    print(f"{phase}: {done} of {total}", flush=True)


if __name__ == "__main__":
    measure_folder(Path(sys.argv[1]).resolve(), _say)
