"""What each core does with the photos that it is given."""

import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from elir_edge.errors import ArchiveError, BundleError, ImageError
from elir_edge.files import sha256_of
from elir_edge.machine_faults import disk_fault, missing_module
from elir_edge.runtime.archive.ledger import FOLDER, Entry
from elir_edge.runtime.archive.store import Store
from elir_edge.runtime.bundle import DIGEST_NAME, Bundle
from elir_edge.runtime.ready import ready_bundle
from elir_edge.runtime.restore import Restorer

_DEATHS = 2
"""So many workers may die while they restore a photo before it is given up. One may die for a
reason of its own, by being taken away; the first that dies leaves no mark and is not counted."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all workers need to know.

    Attributes:
        source: URL of the photos.
        target: URL of the results.
        task: of the ready bundle; None: `bundle` is given.
        bundle: a folder that every machine has.
        digest: of the bundle's manifest, which must be the same on every machine.
        seed: of the noise, where it is an input.
        runtime: by name; None: the bundle's first.
        run: a name of this run, which no other has.
    """

    source: str
    target: str
    task: str | None
    bundle: str | None
    digest: str
    seed: int
    runtime: str | None
    run: str

    def folder(self) -> Path:
        """Return the bundle's folder on this machine."""
        if self.task is not None:
            return ready_bundle(self.task)
        assert self.bundle is not None
        return Path(self.bundle)


def digest_of(folder: Path) -> str:
    """Return what tells a bundle from others, opened and checked."""
    Bundle.open(folder)
    return sha256_of(folder / DIGEST_NAME)


class PhotoWorker:
    """A restorer on one core that takes names of photos and returns rows of the ledger.

    Args:
        work: what to do.
        reconstructed: tells whether this worker takes the place of one that died; None: it never
            does.

    Raises:
        BundleError: this machine has another bundle.
    """

    def __init__(self, work: Work, reconstructed: Callable[[], bool] | None = None) -> None:
        folder = work.folder()
        if sha256_of(folder / DIGEST_NAME) != work.digest:
            raise BundleError(
                f"{platform.node()} has another bundle in {folder}", fix="install the same one"
            )
        self._restorer = Restorer(folder, threads=1, seed=work.seed, runtime=work.runtime)
        self._work = work
        self._source, self._target = Store(work.source), Store(work.target)
        self._careful = reconstructed is not None and reconstructed()
        self._name = f"{platform.node()}:{os.getpid()}"

    def restore(self, photo: str) -> Entry:
        """Restore one photo and return its row; a photo that cannot be restored is no error.

        Raises:
            ArchiveError: the machine or the storage fails: it is not the photo's fault.
        """
        began = time.perf_counter()
        content, result, remarks, reason = b"", b"", "", ""
        try:
            with _Deaths(self._target, self._work.run, photo, careful=self._careful):
                content = self._read(photo)
                result, remarks = self._restored(photo, content)
                self._target.write(photo, result)
        except ImageError as error:
            if disk_fault(error) is not None or missing_module(error) is not None:
                raise ArchiveError(f"{photo}: the machine fails ({error})") from error
            reason = str(error)
        except MemoryError:
            reason = "there is not enough memory for it"
        except OSError as error:
            raise ArchiveError(f"{photo}: the storage fails ({error})") from error
        return Entry(
            photo=photo,
            status="failed" if reason else "done",
            reason=reason,
            remarks=remarks,
            seconds=time.perf_counter() - began,
            bytes_in=len(content),
            bytes_out=0 if reason else len(result),
            worker=self._name,
        )

    def _read(self, photo: str) -> bytes:
        try:
            return self._source.read(photo)
        except FileNotFoundError as error:
            raise ImageError(f"{photo} was renamed or deleted") from error
        except PermissionError as error:
            if not self._source.local:
                raise  # the account's, for all photos
            raise ImageError(f"{photo} cannot be read ({error.strerror})") from error

    def _restored(self, photo: str, content: bytes) -> tuple[bytes, str]:
        """Return the result's content, and what is remarked on."""
        name = PurePosixPath(photo).name
        with tempfile.TemporaryDirectory() as scratch:
            before, after = Path(scratch) / "in" / name, Path(scratch) / "out" / name
            before.parent.mkdir()
            before.write_bytes(content)
            try:
                found = self._restorer.restore_file(before, after).remarks
            except ImageError as error:
                # The photo's own name, not that of a copy in a folder that is gone.
                text = str(error).replace(str(before), photo).replace(str(after), photo)
                raise ImageError(text) from error
            result = after.read_bytes()
        words = [each.text if each.kind == "file" else each.kind for each in found]
        return result, "; ".join(dict.fromkeys(words))


class _Deaths:
    """Counts the workers that die while they restore a photo, once a worker has died.

    A mark is written before the work and deleted after it, but only by workers that take a dead
    one's place: as long as all live, it costs nothing. Marks are a run's own: those that a killed
    run left count for no other.
    """

    def __init__(self, store: Store, run: str, photo: str, *, careful: bool) -> None:
        self._store, self._careful, self._photo = store, careful, photo
        digest = hashlib.sha256(photo.encode()).hexdigest()
        self._mark = f"{deaths_folder(run)}/{digest}"

    def __enter__(self) -> None:
        if not self._careful:
            return
        deaths = len(self._store.read(self._mark)) if self._store.exists(self._mark) else 0
        if deaths >= _DEATHS:
            raise ImageError(f"{self._photo}: {deaths} workers died while they restored it")
        self._store.write(self._mark, b"x" * (deaths + 1))

    def __exit__(self, *error: object) -> None:
        if self._careful:
            self._store.delete(self._mark)


def deaths_folder(run: str) -> str:
    """Return the folder, in the target, of a run's marks."""
    return f"{FOLDER}/.deaths-{run}"
