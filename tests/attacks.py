"""What a file from elsewhere may try."""

import os
from pathlib import Path


class Malicious:
    """Unpickled without care, this writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)
