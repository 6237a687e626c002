"""The speed benchmark on an Android phone, by adb and LiteRT's `benchmark_model`.

Get the program for arm64 from LiteRT's releases and set ANDROID_BENCHMARK_MODEL to its path. It is
pushed with the TFLite files and a shell script that lets the models take turns and writes a line of
JSON for each turn. The program tells the mean of a turn's runs, so that medians are those of turns,
and it runs the graph alone: there is no time from end to end.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.devices.address import AdbAddress
from benchmarks.devices.cleanup import removing
from benchmarks.speed.turns import Measurements, TimingProtocol, Told
from elir_edge.errors import ElirError

VARIABLE = "ANDROID_BENCHMARK_MODEL"
_FOLDER = "/data/local/tmp/elir-edge"
_PROGRAM, _RUNNER, _RESULT = "benchmark_model", "runner.sh", "result.jsonl"
_KEYS = ("manufacturer", "model")
_SCRIPT = r"""#!/system/bin/sh
# runner.sh TURNS RUNS WARMUP THREADS MODEL...: a line of JSON for each model and turn
cd "$(dirname "$0")" || exit 1
turns=$1 runs=$2 warmup=$3 threads=$4
shift 4
: > result.jsonl
turn=0
while [ "$turn" -lt "$turns" ]; do
  for model in "$@"; do
    said=$(./benchmark_model --graph="$model" --num_threads="$threads" --num_runs="$runs" \
      --warmup_runs="$warmup" --min_secs=0 --warmup_min_secs=0 --use_xnnpack=true \
      --report_peak_memory_footprint=true 2>&1)
    mean=$(echo "$said" | sed -n 's/.*Inference (avg): \([0-9.e+]*\).*/\1/p' | tail -n 1)
    peak=$(echo "$said" | sed -n 's/.*[Pp]eak memory footprint (MB)[^:]*: \([0-9.]*\).*/\1/p' |
      tail -n 1)
    last=$(echo "$said" | tail -n 1 | tr -d '"\\\t\r')
    echo "{\"model\": \"$model\", \"turn\": $turn, \"microseconds\": ${mean:-null}," \
      "\"peak_mb\": ${peak:-null}, \"last\": \"$last\"}" >> result.jsonl
  done
  turn=$((turn + 1))
done
"""


class AdbDevice:
    """A phone that adb lists under a serial number.

    Args:
        address: of the phone.
        environment: holds PATH and the program's path.
    """

    def __init__(self, address: AdbAddress, *, environment: Mapping[str, str] = os.environ) -> None:
        self.address = address
        self._environment = dict(environment)

    def check(self) -> None:
        """Require that the phone is attached, and the program at hand.

        Raises:
            ElirError: adb, the phone or the program is missing.
        """
        if shutil.which("adb", path=self._environment.get("PATH")) is None:
            raise ElirError("adb is not installed", fix="apt-get install adb")
        lines = self._adb("devices").splitlines()
        listed = [line.split() for line in lines if not line.startswith(("*", "List of"))]
        states = {words[0]: words[1] for words in listed if len(words) >= 2}
        serial = self.address.serial
        if states.get(serial) != "device":
            others = ", ".join(f"{name} ({state})" for name, state in states.items())
            raise ElirError(
                f"{self.address}: no such phone to measure on",
                got=f"adb lists {others or 'no device'}",
                fix="attach it, switch on USB debugging, and allow it on its screen",
            )
        self._program()

    def machine(self) -> dict[str, Any]:
        """Return facts about the phone, as `turns.machine` does of a machine."""
        names = [self._shell("getprop", f"ro.product.{key}").strip() for key in _KEYS]
        system = self._shell("getprop", "ro.build.version.release").strip()
        return {"processor": " ".join(names), "cores": None, "system": f"Android {system}"}

    def measure(
        self,
        models: Mapping[str, Path],
        protocol: TimingProtocol,
        threads: int,
        told: Told = lambda *news: None,
    ) -> Measurements:
        """Push models and runner, measure in turns, and pull the result.

        Args:
            models: TFLite files by row.
            protocol: how much is measured; a turn warms up by `protocol.warmup` runs, since each
                is a process of its own.
            threads: of the phone.
            told: called when the turns begin and when they are done.

        Raises:
            ElirError: the phone or adb failed.
        """
        names = {row: f"{number}.tflite" for number, row in enumerate(models)}
        self._remove()
        self._shell("mkdir", "-p", _FOLDER)
        with removing(self._remove):
            return self._measured_there(models, names, protocol, threads, told)

    def _remove(self) -> None:
        self._shell("rm", "-rf", _FOLDER)

    def _measured_there(
        self,
        models: Mapping[str, Path],
        names: Mapping[str, str],
        protocol: TimingProtocol,
        threads: int,
        told: Told,
    ) -> Measurements:
        self._push(self._program(), _PROGRAM)
        self._shell("chmod", "+x", f"{_FOLDER}/{_PROGRAM}")
        for row, path in models.items():
            self._push(path, names[row])
        turns = -(-protocol.images // protocol.turn)
        counts = [str(turns), str(protocol.turn), str(protocol.warmup), str(threads)]
        with tempfile.TemporaryDirectory() as folder:
            script, result = Path(folder) / _RUNNER, Path(folder) / _RESULT
            script.write_text(_SCRIPT, encoding="ascii", newline="\n")
            self._push(script, _RUNNER)
            told("images", 0, protocol.images, {})
            self._shell("sh", f"{_FOLDER}/{_RUNNER}", *counts, *names.values())
            told("images", protocol.images, protocol.images, {})
            self._on_phone("pull", f"{_FOLDER}/{_RESULT}", str(result))
            return read_lines(result.read_text(encoding="utf-8", errors="replace"), names)

    def _program(self) -> Path:
        program = Path(self._environment.get(VARIABLE, ""))
        if not program.is_file():
            raise ElirError(
                "LiteRT's benchmark_model is not at hand",
                fix=f"name the file of its arm64 build in {VARIABLE}",
            )
        return program

    def _push(self, path: Path, name: str) -> None:
        self._on_phone("push", str(path), f"{_FOLDER}/{name}")

    def _shell(self, *command: str) -> str:
        return self._on_phone("shell", *command)

    def _on_phone(self, *arguments: str) -> str:
        return self._adb("-s", self.address.serial, *arguments)

    def _adb(self, *arguments: str) -> str:
        done = subprocess.run(
            ["adb", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=self._environment,
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise ElirError(f"{self.address}: adb failed", got=lines[-1] if lines else "no message")
        return done.stdout


def read_lines(text: str, names: Mapping[str, str]) -> Measurements:
    """Return what the runner's lines say of each row, as `turns.measure` does.

    Args:
        text: lines of JSON.
        names: of the rows' files there, by row.

    Raises:
        ElirError: a line is damaged.
    """
    try:
        lines = [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise ElirError("the phone's result is damaged", got=str(error)) from error
    return {
        row: _measured([line for line in lines if line["model"] == name])
        for row, name in names.items()
    }


def _measured(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a row's turns, each of one value; or the reason why it has none."""
    means = [line["microseconds"] for line in lines]
    if not means or None in means:
        last = next((line["last"] for line in lines if line["microseconds"] is None), "no line")
        return {"reason": f"benchmark_model told no time, but {last or 'nothing'!r}"}
    peaks = [line["peak_mb"] for line in lines if line["peak_mb"] is not None]
    return {
        "version": "LiteRT benchmark_model; times are means of a turn",
        "turns": {"model": [[mean / 1000] for mean in means]},
        "peak_mb": max(peaks) if peaks else None,
    }
