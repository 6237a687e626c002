"""A round trip by ssh: to an sshd on the loopback, with keys of its own."""

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.devices.address import SshAddress
from benchmarks.devices.ssh import SshDevice
from benchmarks.speed.turns import TimingProtocol, TurnPlan, Worker
from elir_edge.errors import ElirError
from elir_edge.runtime import Restorer
from tests.benchmarks.conftest import SshServer, free_port


@pytest.fixture
def folder(tmp_path: Path, tiny_bundle: Path) -> Path:
    """Return a folder with a bundle, six photos, and something that is not to be pushed."""
    shutil.copytree(tiny_bundle, tmp_path / "dist" / "tiny")
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "secret").write_text("stays here")
    return tmp_path


def _plan(*runtimes: str) -> TurnPlan:
    return TurnPlan(
        workers=tuple(
            Worker(
                row=runtime,
                module="benchmarks.speed.worker",
                arguments=("dist/tiny", runtime, "photos", "1"),
            )
            for runtime in runtimes
        ),
        protocol=TimingProtocol(images=6, warmup=1, turn=3, outputs=2),
        threads=1,
    )


class _Remembering(SshDevice):
    """Remembers the folder that was made there."""

    made = ""

    def _run(self, command: Sequence[str]) -> bytes:
        said = super()._run(command)
        if command[0] == "mktemp":
            self.made = said.decode().strip()
        return said


@pytest.mark.slow
def test_round_trip(ssh_server: SshServer, folder: Path) -> None:
    address, config = ssh_server
    device = _Remembering(address, config=config, python=sys.executable)
    device.check()
    news: list[tuple[str, int, int]] = []

    def told(phase: str, done: int, total: int, known: object) -> None:
        news.append((phase, done, total))

    found = device.measure(folder, ("dist", "photos"), _plan("onnxruntime", "litert"), told)
    row = found["rows"]["onnxruntime"]
    assert [len(turn) for turn in row["turns"]["model"]] == [3, 3]
    assert [len(turn) for turn in row["turns"]["end_to_end"]] == [3, 3]
    assert row["version"].startswith("onnxruntime ")
    assert "was not checked in runtime" in found["rows"]["litert"]["reason"]
    assert news[-1] == ("images", 6, 6)
    assert found["machine"]["processor"]
    outputs = np.load(folder / row["outputs"])
    with Restorer(folder / "dist" / "tiny", threads=1) as restorer:
        image = np.asarray(Image.open(folder / "photos" / "0.png"), np.float32) / np.float32(255)
        assert np.array_equal(outputs[0], restorer.run(image))
    # What was pushed is gone.
    assert device.made.startswith("/")
    assert not Path(device.made).exists()


@pytest.mark.slow
def test_what_fails_there_is_one_line(ssh_server: SshServer, folder: Path) -> None:
    address, config = ssh_server
    lines = []
    missing = SshDevice(address, config=config, python="/nowhere/python")
    idle = SshDevice(address, config=config, python="/bin/true")
    stranger = dataclasses.replace(address, user="nobody-here")
    for act in (
        missing.check,
        lambda: idle.measure(folder, ("dist", "photos"), _plan("onnxruntime")),
        SshDevice(stranger, config=config).check,
    ):
        with pytest.raises(ElirError) as failed:
            act()
        lines.append(str(failed.value))
    assert "/nowhere/python" in lines[0]
    assert lines[1].endswith("the runner left no result")
    assert "Permission denied" in lines[2]
    assert "fix: try `ssh` to it by hand" in lines[2]
    assert not any("\n" in line for line in lines)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh")
def test_nobody_answers() -> None:
    address = SshAddress(user="nobody", host="127.0.0.1", port=free_port())
    with pytest.raises(ElirError, match="Connection refused") as failed:
        SshDevice(address, config=Path("/dev/null")).check()
    assert str(failed.value).startswith(f"{address}: python3 failed")
