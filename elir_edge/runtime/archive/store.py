"""Folders on any storage that fsspec knows; the only file that imports it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elir_edge.errors import ArchiveError, UsageError
from elir_edge.files import write_whole

_PER_PROCESS = ("memory",)
"""Storage that every process has its own of."""


class Store:
    """A folder: local, in S3, on another machine; it can be pickled.

    Args:
        url: a path, or with a protocol: `s3://bucket/photos`.

    Raises:
        UsageError: a protocol that is unknown, or not shared between processes.
        ArchiveError: fsspec or the protocol's own package is missing.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ModuleNotFoundError as error:
            raise missing_package(error) from error
        try:
            self._fs, self.root = url_to_fs(url)
        except ValueError as error:
            raise UsageError(f"{url} cannot be opened ({error})") from error
        except ImportError as error:
            raise ArchiveError(f"{url} needs a further package ({error})") from error
        protocols = self._fs.protocol
        self.protocol = protocols if isinstance(protocols, str) else protocols[0]
        if self.protocol in _PER_PROCESS:
            raise UsageError(
                f"{url} is not shared between processes", fix="pass a folder, or s3:// and the like"
            )
        self.url = url

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.protocol in ("file", "local")

    def holds(self, other: "Store") -> bool:
        """Tell whether another folder is this one or lies within it."""
        mine, others = (str(each.root).rstrip("/") + "/" for each in (self, other))
        return self.protocol == other.protocol and others.startswith(mine)

    def names(self) -> Iterator[str]:
        """Yield the names of all files below, relative to it; hidden ones and folders left out."""
        for folder, folders, files in self._fs.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = str(folder).removeprefix(str(self.root)).strip("/")
            for name in sorted(files):
                if not name.startswith("."):
                    yield f"{inside}/{name}" if inside else name

    def exists(self, name: str = "") -> bool:
        """Tell whether there is a file or folder of this name."""
        return bool(self._fs.exists(self._path(name)))

    def is_folder(self) -> bool:
        """Tell whether the store is there."""
        return bool(self._fs.isdir(self.root))

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            OSError: it cannot be read.
        """
        content: bytes = self._fs.cat_file(self._path(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all: renamed locally, one request elsewhere.

        Raises:
            OSError: it cannot be written.
        """
        if self.local:
            write_whole(Path(self._path(name)), content)
        else:
            self._fs.pipe_file(self._path(name), content)

    def open(self, name: str) -> Any:
        """Open a file for reading bytes."""
        return self._fs.open(self._path(name), "rb")

    def delete(self, name: str) -> None:
        """Delete a file."""
        self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{str(self.root).rstrip('/')}/{name}" if name else str(self.root)


def missing_package(error: ModuleNotFoundError) -> ArchiveError:
    """Return the error for a package of the extra that is not installed."""
    return ArchiveError(
        f"archives need {error.name}, which is not installed", fix="pip install 'elir-edge[ray]'"
    )
