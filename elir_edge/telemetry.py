"""Nothing is reported to anyone."""

import os


def without_telemetry() -> None:
    """Keep ONNX Runtime from reporting; to be called before its import, which reads the variable.

    Its wheels otherwise look up a host of Microsoft's and write a device id below `~/.cache`
    (seen with 1.32). Whoever wants that sets `ORT_DISABLE_TELEMETRY=0`.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
