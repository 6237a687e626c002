"""Facts about the machine that the program runs on."""

import platform
from pathlib import Path


def processor_name() -> str:
    """Return the processor's name as the system reports it, for people and for cache keys."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
