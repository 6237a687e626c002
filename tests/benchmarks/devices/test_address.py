"""What `--device` takes, and what it refuses."""

import pytest

from benchmarks.devices.address import AdbAddress, SshAddress, parse_device
from elir_edge.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ssh:pi@camera.local", SshAddress(user="pi", host="camera.local")),
        ("ssh:root@10.0.0.7:2222", SshAddress(user="root", host="10.0.0.7", port=2222)),
        ("ssh:pi@[fe80::1%eth0]:22", SshAddress(user="pi", host="fe80::1%eth0", port=22)),
        ("ssh:pi@[::1]", SshAddress(user="pi", host="::1")),
        ("adb:R5CT1234567", AdbAddress(serial="R5CT1234567")),
        ("adb:192.168.0.5:5555", AdbAddress(serial="192.168.0.5:5555")),
        ("adb:emulator-5554", AdbAddress(serial="emulator-5554")),
    ],
)
def test_addresses(text: str, address: SshAddress | AdbAddress) -> None:
    assert parse_device(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pi@camera",
        "ssh:",
        "ssh:camera",
        "ssh:pi@",
        "ssh:@camera",
        "ssh:pi@camera:",
        "ssh:pi@camera:port",
        "ssh:pi@camera:0",
        "ssh:pi@camera:65536",
        "ssh:pi@camera:22:22",
        "ssh:pi@::1",
        "ssh:-oProxyCommand=sh@camera",
        "ssh:pi@-oProxyCommand=sh",
        "ssh:pi@camera;reboot",
        "ssh:pi@cam era",
        "ssh:pi@camera\n",
        "adb:",
        "adb:-s",
        "adb:one two",
        "usb:1",
    ],
)
def test_others_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"--device") as refused:
        parse_device(text)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
