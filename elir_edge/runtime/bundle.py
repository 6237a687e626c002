"""A bundle on disk: its manifest, its files, their hashes."""

from dataclasses import dataclass
from pathlib import Path

from elir_edge.errors import BundleError, UsageError
from elir_edge.files import sha256_of
from elir_edge.runtime.manifest import MANIFEST_NAME, FileEntry, Manifest


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A folder made by an export."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> "Bundle":
        """Read a bundle's manifest and check that its files are there, without hashing them.

        Raises:
            BundleError: no bundle, or an incomplete or malformed one.
        """
        folder = Path(folder)
        path = folder / MANIFEST_NAME
        if not path.is_file():
            raise BundleError(
                f"{folder} is not a bundle",
                got=f"no {MANIFEST_NAME}",
                fix="pass a folder made by export",
            )
        try:
            manifest = Manifest.from_json(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise BundleError(f"{path} is not UTF-8 text", fix="export again") from error
        bundle = cls(folder=folder, manifest=manifest)
        for entry in manifest.files:
            bundle._check_size(entry)
        if not any(entry.role == "artifact" for entry in manifest.files):
            raise BundleError(f"{path} names no artifact", fix="export again")
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

    def verify_files(self, *, but: str = "") -> None:
        """Hash every file.

        Args:
            but: path of one that is about to be made anew.

        Raises:
            BundleError: the content of a file is not what was exported; all such are named.
        """
        entries = [entry for entry in self.manifest.files if entry.path != but]
        altered = [e.path for e in entries if sha256_of(self.path_of(e)) != e.sha256]
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


def describe_file(path: Path, *, role: str, folder: Path) -> FileEntry:
    """Return the manifest's entry for a file of a bundle being made."""
    return FileEntry(
        path=path.relative_to(folder).as_posix(),
        role=role,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )
