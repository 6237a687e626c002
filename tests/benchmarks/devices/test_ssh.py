"""A round trip by ssh: to an sshd on the loopback, with keys of its own."""

import dataclasses
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.devices.address import SshAddress
from benchmarks.devices.ssh import SshDevice
from benchmarks.speed.turns import Plan, Protocol, Worker
from elir_edge.errors import ElirError
from elir_edge.runtime import Restorer

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_SEPARATION = Path("/run/sshd")
"""Where an sshd of root locks itself in; Debian's start script makes it."""
_SECONDS = 10
_needs_sshd = pytest.mark.skipif(
    _SSHD is None or shutil.which("ssh") is None,
    reason="needs an sshd (Debian: apt-get install openssh-server)",
)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    server.kill()
    _, err = server.communicate()
    pytest.fail(f"sshd does not listen: {err.decode(errors='replace')}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SshAddress, Path]]:
    """Start an sshd and return its address, and a configuration for ssh that has its key."""
    folder = tmp_path_factory.mktemp("sshd")
    port, host_key, user_key = _free_port(), folder / "host", folder / "user"
    _make_key(host_key)
    _make_key(user_key)
    shutil.copy(user_key.with_suffix(".pub"), folder / "authorized")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {host_key}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
    )
    public = host_key.with_suffix(".pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    (folder / "ssh_config").write_text(
        f"IdentityFile {user_key}\nIdentitiesOnly yes\nStrictHostKeyChecking yes\n"
        f"UserKnownHostsFile {folder / 'known_hosts'}\nConnectTimeout {_SECONDS}\n"
    )
    made = os.getuid() == 0 and not _SEPARATION.exists()
    if made:
        _SEPARATION.mkdir(mode=0o755)
    assert _SSHD is not None
    process = subprocess.Popen(
        [_SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE
    )
    try:
        _wait_for(port, process)
        address = SshAddress(user=getpass.getuser(), host="127.0.0.1", port=port)
        yield address, folder / "ssh_config"
    finally:
        process.terminate()
        process.communicate()
        if made:
            _SEPARATION.rmdir()


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


def _plan(*runtimes: str) -> Plan:
    return Plan(
        workers=tuple(
            Worker(
                row=runtime,
                module="benchmarks.speed.worker",
                arguments=("dist/tiny", runtime, "photos", "1"),
            )
            for runtime in runtimes
        ),
        protocol=Protocol(images=6, warmup=1, turn=3, outputs=2),
        threads=1,
    )


@pytest.mark.slow
@_needs_sshd
def test_round_trip(
    server: tuple[SshAddress, Path], folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address, config = server
    device = SshDevice(address, config=config, python=sys.executable)
    device.check()
    before = set(Path("/tmp").glob("tmp.*"))
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
    assert set(Path("/tmp").glob("tmp.*")) <= before


@pytest.mark.slow
@_needs_sshd
def test_what_fails_there_is_one_line(server: tuple[SshAddress, Path], folder: Path) -> None:
    address, config = server
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
    address = SshAddress(user="nobody", host="127.0.0.1", port=_free_port())
    with pytest.raises(ElirError, match="Connection refused") as failed:
        SshDevice(address, config=Path("/dev/null")).check()
    assert str(failed.value).startswith(f"{address}: python3 failed")
