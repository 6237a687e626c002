"""Phones: an adb that plays one and runs the pushed script, and a true adb that has none."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.devices.adb import VARIABLE, AdbDevice, read_lines
from benchmarks.devices.address import AdbAddress
from benchmarks.speed.turns import TimingProtocol
from elir_edge.errors import ElirError

_PHONE = AdbAddress(serial="ABC")
_FOLDER = "/data/local/tmp/elir-edge"
_ADB = """\
#!/bin/sh
# Plays adb: the phone's folder is one of this machine, and its shell this machine's.
there="{there}"
echo "$@" >> "{log}"
if [ "$1" = devices ]; then printf 'List of devices attached\\nABC\\t{state}\\n'; exit 0; fi
[ "$1 $2" = "-s ABC" ] || exit 3
shift 2
case "$1" in
  push) cp "$2" "$(echo "$3" | sed "s|{folder}|$there|")" ;;
  pull) cp "$(echo "$2" | sed "s|{folder}|$there|")" "$3" ;;
  shell) shift; case "$*" in
    *manufacturer) echo Maker ;;
    *product.model) echo Phone ;;
    *release) echo 15 ;;
    *) sh -c "$(echo "$*" | sed "s|{folder}|$there|g")" ;;
  esac ;;
esac
"""
_PROGRAM = """\
#!/bin/sh
echo "$@" >> "{calls}"
case "$*" in
  *graph=0.tflite*) echo 'Inference timings in us: Init: 1, Warmup (avg): 9, Inference (avg): 12500'
    echo 'Overall peak memory footprint (MB) via periodic monitoring: 34.5' ;;
  *) echo 'ERROR: Failed to "load" the model' ;;
esac
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment with the adb and the program that play their parts."""
    program = tmp_path / "benchmark_model"
    program.write_text(_PROGRAM.format(calls=tmp_path / "calls"))
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", VARIABLE: str(program)}


def _attach(folder: Path, state: str = "device") -> None:
    path = folder / "adb"
    names = {"there": folder / "phone", "log": folder / "adb.log", "folder": _FOLDER}
    path.write_text(_ADB.format(state=state, **names))
    path.chmod(0o755)


def test_models_take_turns_on_the_phone(tmp_path: Path, environment: dict[str, str]) -> None:
    _attach(tmp_path)
    device = AdbDevice(_PHONE, environment=environment)
    device.check()
    models = {}
    for row in ("LiteRT fp32", "LiteRT int8"):
        models[row] = tmp_path / f"{row[-4:]}.tflite"
        models[row].write_bytes(row.encode())
    news: list[int] = []
    found = device.measure(
        models,
        TimingProtocol(images=20, warmup=10, turn=10),
        4,
        lambda phase, done, total, known: news.append(done),
    )
    assert found["LiteRT fp32"]["turns"] == {"model": [[12.5], [12.5]]}
    assert found["LiteRT fp32"]["peak_mb"] == 34.5
    assert "means of a turn" in found["LiteRT fp32"]["version"]
    assert found["LiteRT int8"] == {
        "reason": "benchmark_model told no time, but 'ERROR: Failed to load the model'"
    }
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["--graph=0.tflite", "--graph=1.tflite"] * 2
    assert all("--num_threads=4 --num_runs=10 --warmup_runs=10" in call for call in calls)
    assert news == [0, 20]
    assert not (tmp_path / "phone").exists()
    assert device.machine() == {"processor": "Maker Phone", "cores": None, "system": "Android 15"}


def test_nothing_stays_on_a_phone_that_fails(tmp_path: Path, environment: dict[str, str]) -> None:
    _attach(tmp_path)
    device = AdbDevice(_PHONE, environment=environment)
    with pytest.raises(ElirError, match=r"adb failed; got cp: .*absent"):
        device.measure(
            {"row": tmp_path / "absent.tflite"}, TimingProtocol(images=1, warmup=0, turn=1), 1
        )
    assert not (tmp_path / "phone").exists()


@pytest.mark.parametrize("state", ["unauthorized", "offline"])
def test_a_phone_that_does_not_allow_it(
    tmp_path: Path, environment: dict[str, str], state: str
) -> None:
    _attach(tmp_path, state)
    with pytest.raises(ElirError, match=rf"got adb lists ABC \({state}\)"):
        AdbDevice(_PHONE, environment=environment).check()


def test_what_is_missing_is_said(tmp_path: Path, environment: dict[str, str]) -> None:
    _attach(tmp_path)
    without = {**environment, VARIABLE: str(tmp_path / "absent")}
    with pytest.raises(ElirError, match=VARIABLE):
        AdbDevice(_PHONE, environment=without).check()
    with pytest.raises(ElirError, match="adb is not installed; fix: apt-get install adb"):
        AdbDevice(_PHONE, environment={**environment, "PATH": str(tmp_path / "empty")}).check()
    # What adb says on failure: the phone was unplugged, for example.
    (tmp_path / "adb").write_text("#!/bin/sh\necho 'adb: device ABC not found' >&2\nexit 1\n")
    with pytest.raises(ElirError, match="adb failed; got adb: device ABC not found"):
        AdbDevice(_PHONE, environment=environment).machine()


def test_damaged_lines_are_said() -> None:
    line = {"model": "0.tflite", "turn": 0, "microseconds": 1000, "peak_mb": None, "last": ""}
    found = read_lines(json.dumps(line), {"row": "0.tflite", "other": "1.tflite"})
    assert found["row"]["turns"]["model"] == [[1.0]]
    assert found["row"]["peak_mb"] is None
    assert found["other"]["reason"].startswith("benchmark_model told no time")
    with pytest.raises(ElirError, match="damaged"):
        read_lines('{"model": "0.tflite", "turn": 0', {"row": "0.tflite"})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return the environment of a true adb with a server of its own, which has no phones."""
    if shutil.which("adb") is None:
        pytest.skip("needs adb (Debian: apt-get install adb)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(tmp_path)}
    yield environment
    subprocess.run(["adb", "kill-server"], env=environment, capture_output=True, check=False)


def test_a_true_adb_without_phones(server: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / "benchmark_model"
    program.touch()
    with pytest.raises(ElirError) as refused:
        AdbDevice(_PHONE, environment={**server, VARIABLE: str(program)}).check()
    # adb takes any program that listens on an emulator's port for one.
    assert re.fullmatch(
        r"adb:ABC: no such phone to measure on; got adb lists (no device|emulator-\d+ .*); "
        "fix: attach it, switch on USB debugging, and allow it on its screen",
        str(refused.value),
    )
