"""What `--device` names: this machine, one by ssh, or a phone by adb."""

import re
from dataclasses import dataclass

from elir_edge.errors import UsageError

_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_SSH = re.compile(
    rf"(?P<user>{_NAME})@(?P<host>{_NAME}|\[[0-9A-Fa-f:.]+(?:%{_NAME})?\])(?::(?P<port>\d{{1,5}}))?"
)
_SERIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]*")
_EXPECTED = "ssh:USER@HOST, ssh:USER@HOST:PORT or adb:SERIAL"
_PORTS = range(1, 65536)


@dataclass(frozen=True, kw_only=True)
class SshAddress:
    """A machine that takes ssh; `port` None: the one of ssh's configuration."""

    user: str
    host: str
    port: int | None = None

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh:{self.user}@{host}" + ("" if self.port is None else f":{self.port}")


@dataclass(frozen=True, kw_only=True)
class AdbAddress:
    """A phone that adb lists."""

    serial: str

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"adb:{self.serial}"


def parse_device(text: str) -> SshAddress | AdbAddress:
    """Return what a `--device` names.

    Names may not begin with a hyphen: ssh and adb would take them for options.

    Raises:
        UsageError: it is no address.
    """
    kind, _, rest = text.partition(":")
    if kind == "adb" and _SERIAL.fullmatch(rest):
        return AdbAddress(serial=rest)
    found = _SSH.fullmatch(rest) if kind == "ssh" else None
    if found is None:
        raise UsageError(f"--device {text!r} is no address", expected=_EXPECTED)
    port = None if found["port"] is None else int(found["port"])
    if port is not None and port not in _PORTS:
        raise UsageError(f"--device {text!r} has no such port", expected="1 to 65535")
    return SshAddress(user=found["user"], host=found["host"].strip("[]"), port=port)
