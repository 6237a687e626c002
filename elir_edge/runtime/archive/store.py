"""Folders on any storage that fsspec knows; the only file that imports fsspec."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elir_edge.errors import ArchiveError, UsageError
from elir_edge.files import write_whole

_PER_PROCESS = ("memory",)
"""Protocols of storage of which every process has its own."""
_SDK_ERRORS = {
    "http": ("aiohttp", "ClientError"),
    "s3": ("botocore.exceptions", "BotoCoreError"),
}
"""By protocol, the module and class of errors that its package passes on although they are no
OSError: without credentials or a connection, for example."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What lies in a store.

    Attributes:
        name: relative to the store.
        readable: whether it is a file, or a link to one; links to folders and pipes are not.
    """

    name: str
    readable: bool


class Store:
    """A folder: local, in S3, or on another machine.

    Args:
        url: a path, or an address with a protocol such as `s3://bucket/photos`.

    Raises:
        UsageError: the protocol is unknown, or its storage is not shared between processes.
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

    def path(self, name: str) -> Path:
        """Return the path of a file in a local folder."""
        return Path(self._address(name))

    def holds(self, other: "Store") -> bool:
        """Tell whether another folder is this one or lies within it, under any name."""
        mine, others = (each._real_root() for each in (self, other))
        return self.protocol == other.protocol and others.startswith(mine)

    def names(self, folder: str = "") -> Iterator[str]:
        """Yield the names of all files below a folder of the store, relative to that folder.

        Raises:
            OSError: a folder cannot be listed.
        """
        for found in self.entries(folder):
            if found.readable:
                yield found.name

    def entries(self, folder: str = "") -> Iterator[Found]:
        """Yield all that lies below a folder, relative to it, but what is hidden and folders.

        A folder's files come before its subfolders, each in the order of their names.

        Raises:
            OSError: a folder cannot be listed.
        """
        # Not fsspec's walk: it leaves out folders that cannot be listed, without a word.
        waiting = [""]
        while waiting:
            inside = waiting.pop()
            folders = []
            for info in self._listed(f"{folder}/{inside}".strip("/")):
                name = str(info["name"]).rstrip("/").rsplit("/", 1)[-1]
                if name.startswith("."):
                    continue
                whole = f"{inside}/{name}" if inside else name
                if info["type"] == "directory":
                    folders.append(whole)
                else:
                    yield Found(name=whole, readable=self._is_file(info))
            waiting += reversed(folders)

    def exists(self, name: str = "") -> bool:
        """Tell whether there is a file or folder of this name."""
        with self._sdk_errors():
            return bool(self._fs.exists(self._address(name)))

    def is_folder(self) -> bool:
        """Tell whether the store is there."""
        with self._sdk_errors():
            return bool(self._fs.isdir(self.root))

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            OSError: it cannot be read.
        """
        with self._sdk_errors():
            content: bytes = self._fs.cat_file(self._address(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all: renamed locally, one request elsewhere.

        Raises:
            OSError: it cannot be written.
            UsageError: the protocol only reads.
        """
        if self.local:
            write_whole(self.path(name), content)
            return
        try:
            with self._sdk_errors():
                self._fs.pipe_file(self._address(name), content)
        except NotImplementedError as error:
            raise UsageError(f"{self.url} cannot be written to", fix="pass another target") from (
                error
            )

    def open(self, name: str) -> Any:
        """Open a file for reading bytes.

        Raises:
            OSError: it cannot be read.
        """
        with self._sdk_errors():
            return self._fs.open(self._address(name), "rb")

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all that it holds, if it is there.

        Raises:
            OSError: it cannot be deleted.
        """
        with self._sdk_errors(), contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._address(name), recursive=True)

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        """Return what fsspec tells of all that lies in a folder, in the order of the names."""
        address = self._address(folder)
        with self._sdk_errors():
            try:
                found = self._fs.ls(address, detail=True)
            except FileNotFoundError:
                if not folder:
                    raise
                return []  # deleted since
            # fsspec remembers listings, which for a million files takes a gigabyte.
            self._fs.invalidate_cache(address)
        found = [each for each in found if str(each["name"]).rstrip("/") != address.rstrip("/")]
        return sorted(found, key=lambda info: str(info["name"]))

    def _is_file(self, info: dict[str, Any]) -> bool:
        if info.get("islink"):
            try:
                info = self._fs.info(info["name"])  # of what the link leads to
            except OSError:
                return False
        return bool(info["type"] == "file")

    @contextlib.contextmanager
    def _sdk_errors(self) -> Iterator[None]:
        """Turn the errors of a protocol's package into OSError."""
        if self.protocol not in _SDK_ERRORS:
            yield
            return
        module, name = _SDK_ERRORS[self.protocol]
        try:
            yield
        except getattr(importlib.import_module(module), name) as error:
            raise OSError(str(error)) from error

    def _address(self, name: str) -> str:
        return f"{str(self.root).rstrip('/')}/{name}" if name else str(self.root)

    def _real_root(self) -> str:
        root = os.path.realpath(self.root) if self.local else str(self.root)
        return root.rstrip("/") + "/"


def missing_package(error: ModuleNotFoundError) -> ArchiveError:
    """Return the error for a package of the extra that is not installed."""
    return ArchiveError(
        f"archives need {error.name}, which is not installed", fix="pip install 'elir-edge[ray]'"
    )
