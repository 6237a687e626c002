"""Writing files so that a reader never sees half of one."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from elir_edge.errors import UsageError

DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,
    ZeroDivisionError,
    struct.error,
)
"""What Pillow's decoders raise on damaged files, by its documentation and by trying."""


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`, to be written; on success it takes `path`'s place.

    What a link points to is replaced, not the link; the permissions of a file that was there stay.
    The bytes are on the disk before the name changes, so that a full disk or a power cut leaves the
    old file or the new one.
    """
    try:
        path = path.resolve()
    except RuntimeError as error:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path, path.suffix)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if path.is_file():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: the disk refuses; what was there stays.
    """
    with replacing_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: object) -> None:
    """Write what programs read: indented, whole or not at all."""
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A signal may stop the program after any line: what cleans up is entered before the first
    # folder is made, and asks what it finds instead of remembering how far it came.
    scratch = _sibling(path)
    new, old = scratch / "new", scratch / "old"
    try:
        new.mkdir(parents=True)
        yield new
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(scratch, ignore_errors=True)


def refuse_among(target: Path, photos: Path, option: str) -> None:
    """Refuse to write to a photo, or among the photos that are read.

    Args:
        target: where results are to go.
        photos: a photo, or a folder of them.
        option: that names the target.

    Raises:
        UsageError: the target is the photo, the folder, or within the folder.
    """
    if target.resolve().is_relative_to(photos.resolve()):
        raise UsageError(
            f"{option} {target} lies among the photos of {photos}",
            fix=f"pass another {option}: what lies there would be taken for a photo",
        )


def cache_folder(name: str) -> Path:
    """Return the folder `name` of this program's cache.

    It lies in `$ELIR_EDGE_CACHE`, by default in `elir-edge` below `$XDG_CACHE_HOME` or `~/.cache`.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "elir-edge"
    return Path(os.environ.get("ELIR_EDGE_CACHE", default)).expanduser() / name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}(\.\w+)?")
"""Names of `_sibling`; a killed program leaves them."""
_LONGEST_START = 200
"""Of its name in bytes, so that the whole stays below most systems' 255."""
_OLD_SECONDS = 3600
"""After so long nobody is still writing it."""


def sweep_leftovers(folder: Path) -> None:
    """Delete the files that killed programs left half-written in a folder, if there is one."""
    now = time.time()
    for entry in os.scandir(folder) if folder.is_dir() else ():
        if (
            _LEFTOVER.fullmatch(entry.name)
            and entry.is_file(follow_symlinks=False)
            and now - entry.stat(follow_symlinks=False).st_mtime > _OLD_SECONDS
        ):
            os.unlink(entry.path)


def _sibling(path: Path, suffix: str = "") -> Path:
    """Return a hidden name beside `path` that nothing has."""
    start = os.fsdecode(os.fsencode(path.name)[:_LONGEST_START])
    return path.parent / f".{start}.{secrets.token_hex(8)}{suffix}"
