"""Turns off the telemetry of libraries: nothing is reported to anyone."""

import os


def without_telemetry() -> None:
    """Turn off ONNX Runtime's telemetry; call this before the import, which reads the variable.

    Otherwise, its wheels look up a host of Microsoft and write a device id below `~/.cache` (seen
    with version 1.32). A user who wants telemetry can set `ORT_DISABLE_TELEMETRY=0`.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
