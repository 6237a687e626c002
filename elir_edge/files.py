"""Atomic writing of files and folders, file hashes, and the cache folder."""

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
"""What Pillow's decoders raise on damaged files, according to its documentation and to tests."""


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` to write to; on success it replaces `path`.

    If `path` is a link, its target is replaced. The permissions of an existing file are kept. The
    content is flushed to the disk before the file is renamed, so a full disk or a power cut leaves
    either the old file or the new one.
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
    """Write a file atomically.

    Raises:
        OSError: the file cannot be written; an existing file is kept.
    """
    with replacing_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: object) -> None:
    """Write an indented JSON file atomically."""
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that replaces `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A signal may stop the program after any line. The clean-up is therefore entered before the
    # first folder is made, and it checks which folders exist instead of recording progress.
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
    """Refuse to write over an input photo, or into the folder of the input photos.

    Args:
        target: file or folder for results.
        photos: an input photo, or a folder of input photos.
        option: the command-line option that gives the target, for the message.

    Raises:
        UsageError: the target is the photo, the folder, or within the folder.
    """
    if target.resolve().is_relative_to(photos.resolve()):
        raise UsageError(
            f"{option} {target} lies among the photos of {photos}",
            fix=f"pass another {option}: files there would be read as photos",
        )


CACHE_VARIABLE = "ELIR_EDGE_CACHE"


def cache_folder(name: str) -> Path:
    """Return the folder `name` of this program's cache.

    The cache is `$ELIR_EDGE_CACHE`, by default `elir-edge` in `$XDG_CACHE_HOME` or `~/.cache`.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "elir-edge"
    return Path(os.environ.get(CACHE_VARIABLE, default)).expanduser() / name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}(\.\w+)?")
"""Matches the names that `_sibling` gives; a killed program leaves such files."""
_LONGEST_START = 200
"""Bytes of the original name that `_sibling` keeps, since most systems allow 255 in all."""
_OLD_SECONDS = 3600
"""A temporary file unchanged for this long is no longer being written."""


def sweep_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed programs left in a folder, if the folder exists."""
    now = time.time()
    for entry in os.scandir(folder) if folder.is_dir() else ():
        if (
            _LEFTOVER.fullmatch(entry.name)
            and entry.is_file(follow_symlinks=False)
            and now - entry.stat(follow_symlinks=False).st_mtime > _OLD_SECONDS
        ):
            os.unlink(entry.path)


def _sibling(path: Path, suffix: str = "") -> Path:
    """Return an unused hidden path in the folder of `path`."""
    start = os.fsdecode(os.fsencode(path.name)[:_LONGEST_START])
    return path.parent / f".{start}.{secrets.token_hex(8)}{suffix}"
