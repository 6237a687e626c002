"""Speed of a TFLite model on an attached Android phone, by LiteRT's `benchmark_model` over adb.

Get the program for arm64 from LiteRT's releases and set ANDROID_BENCHMARK_MODEL to its path.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from elir_edge.errors import ElirError

VARIABLE = "ANDROID_BENCHMARK_MODEL"
_FOLDER = "/data/local/tmp/elir-edge"
_MEAN = re.compile(r"Inference \(avg\): ([0-9.e+]+)")


def check_phone(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of `benchmark_model`, once a phone and it are there.

    Raises:
        ElirError: adb, a phone, or the program is missing.
    """
    if shutil.which("adb", path=environment.get("PATH")) is None:
        raise ElirError("no phone: adb is not installed", fix="apt-get install adb")
    listing = _adb(["devices"]).splitlines()[1:]
    states = [line.split()[1] for line in listing if len(line.split()) == 2]
    if states != ["device"]:
        raise ElirError(
            "no phone to measure on",
            got=f"adb lists {', '.join(states) or 'none'}",
            expected="one attached phone that allows debugging",
        )
    program = Path(environment.get(VARIABLE, ""))
    if not program.is_file():
        raise ElirError(
            "LiteRT's benchmark_model is not at hand",
            fix=f"name the file of its arm64 build in {VARIABLE}",
        )
    return program


def phone_name() -> str | None:
    """Return maker and model of the attached phone; None where there is none to measure on."""
    try:
        check_phone()
    except ElirError:
        return None
    names = (_adb(["shell", "getprop", f"ro.product.{key}"]) for key in ("manufacturer", "model"))
    return " ".join(name.strip() for name in names)


class PhoneRunner:
    """A model on the phone's CPU, run by XNNPACK.

    Args:
        program: `benchmark_model` for arm64.
        model: the TFLite file.
        threads: of the phone.

    Raises:
        ElirError: the files cannot be copied to the phone.
    """

    def __init__(self, program: Path, model: Path, threads: int) -> None:
        self._threads = threads
        _adb(["shell", "mkdir", "-p", _FOLDER])
        _adb(["push", str(program), f"{_FOLDER}/benchmark_model"])
        _adb(["push", str(model), f"{_FOLDER}/{model.name}"])
        _adb(["shell", "chmod", "+x", f"{_FOLDER}/benchmark_model"])
        self._model = model.name

    def __call__(self) -> float:
        """Return the mean milliseconds of ten runs after five, by the program's own clock.

        Raises:
            ElirError: it failed.
        """
        options = [f"--num_threads={self._threads}", "--num_runs=10", "--warmup_runs=5"]
        options += [f"--graph={_FOLDER}/{self._model}", "--use_xnnpack=true", "2>&1"]
        said = _adb(["shell", f"{_FOLDER}/benchmark_model", *options])
        found = _MEAN.findall(said)
        if not found:
            lines = said.strip().splitlines()
            raise ElirError("benchmark_model told no time", got=lines[-1] if lines else "nothing")
        return float(found[-1]) / 1000


def _adb(arguments: list[str]) -> str:
    done = subprocess.run(["adb", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ElirError(f"adb {arguments[0]} failed", got=lines[-1] if lines else "no message")
    return done.stdout
