"""A bundle on disk: its manifest, its files, their hashes.

Hashes tell a bundle that was copied badly or changed by accident. They do not tell who made it:
whoever can change a file can change its hash as well.
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
"""The manifest's own hash, as `sha256sum --check` reads it."""
_MAX_MANIFEST_BYTES = 4 << 20
_NAMED = 5
_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file managers leave in any folder."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A folder made by an export."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path, *, skip_artifact: bool = False) -> "Bundle":
        """Read a bundle and check every file's hash (some 3 ms per megabyte).

        Args:
            folder: made by an export.
            skip_artifact: the artifact is about to be made anew: its content does not matter.

        Raises:
            BundleError: no bundle, or an incomplete, altered or malformed one, or one with files
                that its manifest does not list.
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
        """Return the path of a file; manifests may only name files inside the bundle.

        Raises:
            BundleError: the name leads outside.
        """
        name = entry.path if isinstance(entry, FileEntry) else entry
        path = self.folder / name
        # resolve() raises for a zero byte, which no path has.
        if "\0" in name or not path.resolve().is_relative_to(self.folder.resolve()):
            raise BundleError(
                f"the manifest of {self.folder} names a file outside it", got=repr(name)
            )
        return path.resolve()

    @property
    def runtimes(self) -> list[str]:
        """Names of the runtimes that the bundle was checked in, its default first."""
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
            if path not in listed and Path(path).name not in _OF_THE_SYSTEM
        ]
        if surplus:
            raise BundleError(
                f"{self.folder} holds files that its manifest does not list",
                got=", ".join(surplus[:_NAMED]) + (", ..." if len(surplus) > _NAMED else ""),
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
                got=f"another content in {', '.join(altered)}",
                fix="copy the bundle again or export anew",
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
                fix="copy the bundle again or export anew",
            )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a bundle's manifest, and its hash beside it."""
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
            f"{path} is no manifest",
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
    """Return the manifest's entry for a file of a bundle being made."""
    return FileEntry(
        path=path.relative_to(folder).as_posix(),
        role=role,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )
