"""An sshd on the loopback, with keys of its own, for the tests of measuring by ssh."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.devices.address import SshAddress

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_SEPARATION = Path("/run/sshd")
"""Where an sshd of root locks itself in; Debian's start script makes it."""
_SECONDS = 10


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
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


class SshServer(NamedTuple):
    """Where an sshd listens, and a configuration for ssh that has its key."""

    address: SshAddress
    config: Path


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """Start an sshd and return its address, and a configuration for ssh that has its key."""
    if _SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs an sshd (Debian: apt-get install openssh-server)")
    folder = tmp_path_factory.mktemp("sshd")
    port, host_key, user_key = free_port(), folder / "host", folder / "user"
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
    if os.getuid() == 0:
        # It stays: another worker of the tests may have an sshd that needs it.
        _SEPARATION.mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen(
        [_SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE
    )
    try:
        _wait_for(port, process)
        address = SshAddress(user=getpass.getuser(), host="127.0.0.1", port=port)
        yield SshServer(address, folder / "ssh_config")
    finally:
        process.terminate()
        process.communicate()
