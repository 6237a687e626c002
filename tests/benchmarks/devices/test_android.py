"""The phone's benchmark, against an adb that plays one."""

import os
from pathlib import Path

import pytest

from benchmarks.devices.android import VARIABLE, PhoneRunner, check_phone, phone_name
from elir_edge.errors import ElirError

_ADB = """\
#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
  devices) printf 'List of devices attached\\nABC\\t{state}\\n' ;;
  *manufacturer) echo Maker ;;
  *model) echo Phone ;;
  *benchmark_model\\ --*) echo 'Inference timings in us: Init: 1, Warmup (avg): 9, {said}' ;;
  push*) exit {push} ;;
esac
"""


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    program = tmp_path / "benchmark_model"
    program.write_bytes(b"")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv(VARIABLE, str(program))
    return {"state": "device", "said": "Inference (avg): 12500", "push": "0"}


def _attach(folder: Path, phone: dict[str, str]) -> Path:
    log = folder / "adb.log"
    path = folder / "adb"
    path.write_text(_ADB.format(log=log, **phone))
    path.chmod(0o755)
    return log


def test_reads_the_time_that_the_program_tells(tmp_path: Path, phone: dict[str, str]) -> None:
    log = _attach(tmp_path, phone)
    program = check_phone()
    assert phone_name() == "Maker Phone"
    run = PhoneRunner(program, tmp_path / "model.tflite", 2)
    assert run() == 12.5
    assert "--num_threads=2" in log.read_text()
    _attach(tmp_path, phone | {"said": "Inference (avg): 25000"})
    assert run() == 25.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": "unauthorized"}, "adb lists unauthorized"),
        ({"said": "crashed"}, "told no time"),
        ({"push": "1"}, "adb push failed"),
    ],
)
def test_says_what_is_wrong(
    tmp_path: Path, phone: dict[str, str], change: dict[str, str], message: str
) -> None:
    _attach(tmp_path, phone | change)
    with pytest.raises(ElirError, match=message):
        PhoneRunner(check_phone(), tmp_path / "model.tflite", 1)()


def test_says_what_is_missing(
    tmp_path: Path, phone: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _attach(tmp_path, phone)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(ElirError, match=VARIABLE):
        check_phone()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(ElirError, match="adb is not installed"):
        check_phone()
