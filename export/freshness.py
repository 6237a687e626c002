"""Are the ready bundles made of the checkpoints and the code as they are?

The standard library only: the build of the wheel asks before anything else is installed.
"""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
READY = ROOT / "elir_edge" / "weights" / "ready"
"""Where the installed package looks for them (`elir_edge.runtime.ready`)."""
_RECORD = "made-of.txt"


def is_made(folder: Path = READY) -> bool:
    """Tell whether a folder holds bundles of the checkpoints and the code as they are."""
    note = folder / _RECORD
    return note.is_file() and note.read_text(encoding="ascii") == _made_of()


def record(folder: Path) -> None:
    """Note what the bundles of a folder were made of."""
    (folder / _RECORD).write_text(_made_of(), encoding="ascii")


def _made_of() -> str:
    """Return a hash of what the bundles depend on: checkpoints, and the code of both packages."""
    sources = [*(ROOT / "elir_edge" / "weights").glob("*.safetensors")]
    sources += [path for name in ("elir_edge", "export") for path in (ROOT / name).rglob("*.py")]
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest() + "\n"
