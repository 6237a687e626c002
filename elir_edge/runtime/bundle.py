"""A bundle on disk: its manifest, its files and their hashes.

The hashes reveal a bad copy or an accidental change. They do not prove who made the bundle: whoever
can change a file can change its hash as well.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elir_edge.errors import BundleError, UsageError
from elir_edge.files import sha256_of
from elir_edge.runtime.manifest import MANIFEST_NAME, FileEntry, Manifest

DIGEST_NAME = "manifest.sha256"
"""File with the manifest's own hash, in the format of `sha256sum --check`."""
_MAX_MANIFEST_BYTES = 4 << 20
_MAX_NAMED = 5
_SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that file managers leave in any folder."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A folder made by an export.

    Attributes:
        folder: path of the bundle.
        manifest: its parsed and checked manifest.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path, *, skip_artifact: bool = False) -> "Bundle":
        """Read a bundle and check every file's hash (about 3 ms per megabyte).

        Args:
            folder: a folder made by an export.
            skip_artifact: do not check the artifact, because it is about to be rebuilt.

        Raises:
            BundleError: the folder is not a bundle; or the bundle is incomplete, altered or
                malformed, or has files that its manifest does not list.
        """
        folder = Path(folder)
        manifest = Manifest.from_json(_read_manifest(folder))
        bundle = cls(folder=folder, manifest=manifest)
        if not any(entry.role == "artifact" for entry in manifest.files):
            raise BundleError(f"{folder / MANIFEST_NAME} names no artifact", fix="export again")
        checked = [e for e in manifest.files if not (skip_artifact and e == manifest.artifact())]
        for entry in checked:
            bundle._check_size(entry)
        bundle._check_listing()
        bundle._check_hashes(checked)
        return bundle

    def path_of(self, entry: FileEntry | str) -> Path:
        """Return the path of a file of the bundle.

        Raises:
            BundleError: the file is not inside the bundle.
        """
        name = entry.path if isinstance(entry, FileEntry) else entry
        path = self.folder / name
        # resolve() raises an error for a zero byte, which no path contains.
        if "\0" in name or not path.resolve().is_relative_to(self.folder.resolve()):
            raise BundleError(
                f"the manifest of {self.folder} names a file outside it", got=repr(name)
            )
        return path.resolve()

    @property
    def runtimes(self) -> list[str]:
        """Return the names of the runtimes that the bundle was checked in, the default first."""
        target = self.manifest.target
        return [target.backend, *(name for name in target.runtimes if name != target.backend)]

    def artifact_for(self, runtime: str) -> Path:
        """Return the path of the file that a runtime loads.

        Raises:
            UsageError: the bundle was not checked in this runtime.
            BundleError: the manifest names a file that it does not list.
        """
        if runtime not in self.runtimes:
            raise UsageError(
                f"{self.folder} was not checked in runtime {runtime!r}",
                expected=f"one of {', '.join(self.runtimes)}",
            )
        name = self.manifest.target.runtimes.get(runtime)
        entries = {entry.path: entry for entry in self.manifest.files}
        if name is not None and name not in entries:
            raise BundleError(
                f"the manifest of {self.folder} lists no file {name!r} for {runtime}",
                fix="export again",
            )
        return self.path_of(self.manifest.artifact() if name is None else entries[name])

    def _check_listing(self) -> None:
        listed = {entry.path for entry in self.manifest.files} | {MANIFEST_NAME, DIGEST_NAME}
        surplus = [
            path
            for path in sorted(_files_below(self.folder))
            if path not in listed and Path(path).name not in _SYSTEM_FILES
        ]
        if surplus:
            raise BundleError(
                f"{self.folder} holds files that its manifest does not list",
                got=", ".join(surplus[:_MAX_NAMED])
                + (", ..." if len(surplus) > _MAX_NAMED else ""),
                fix="move them elsewhere, or copy the bundle again",
            )

    def _check_hashes(self, entries: Sequence[FileEntry]) -> None:
        altered = [e.path for e in entries if sha256_of(self.path_of(e)) != e.sha256]
        digest = self.folder / DIGEST_NAME
        if not digest.is_file():
            raise BundleError(f"{self.folder} lacks {DIGEST_NAME}", fix="copy the whole folder")
        if digest.read_bytes() != _digest((self.folder / MANIFEST_NAME).read_bytes()):
            altered.insert(0, MANIFEST_NAME)
        if altered:
            raise BundleError(
                f"{self.folder} was altered after export",
                got=f"different content in {', '.join(altered)}",
                fix="copy the bundle again, or export again",
            )

    def _check_size(self, entry: FileEntry) -> None:
        path = self.path_of(entry)
        if not path.is_file():
            raise BundleError(f"{self.folder} lacks {entry.path}", fix="copy the whole folder")
        size = path.stat().st_size
        if size != entry.bytes:
            raise BundleError(
                f"{path} is not the exported file",
                got=f"{size} bytes",
                expected=f"{entry.bytes}",
                fix="copy the bundle again, or export again",
            )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a bundle's manifest and the file with its hash."""
    content = manifest.to_json().encode()
    (folder / MANIFEST_NAME).write_bytes(content)
    (folder / DIGEST_NAME).write_bytes(_digest(content))


def _digest(content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST_NAME}\n".encode()


def _read_manifest(folder: Path) -> str:
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise BundleError(
            f"{folder} is not a bundle",
            got=f"no {MANIFEST_NAME}",
            fix="pass a folder made by export",
        )
    size = path.stat().st_size
    if size > _MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{path} is not a manifest",
            got=f"{size} bytes",
            expected=f"at most {_MAX_MANIFEST_BYTES}",
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 text", fix="export again") from error


def _files_below(folder: Path) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in names + links]
    return found


def describe_file(path: Path, *, role: str, folder: Path) -> FileEntry:
    """Return the manifest entry for a file in a bundle that is being made.

    Args:
        path: the file, inside `folder`.
        role: what the file is, e.g. `artifact`.
        folder: the bundle's folder.
    """
    return FileEntry(
        path=path.relative_to(folder).as_posix(),
        role=role,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )
