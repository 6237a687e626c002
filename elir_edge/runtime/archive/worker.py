"""What each core does with the photos that it is given."""

import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from elir_edge.errors import ArchiveError, BundleError, ImageError
from elir_edge.files import sha256_of
from elir_edge.runtime.archive.ledger import FOLDER, Entry
from elir_edge.runtime.archive.store import Store
from elir_edge.runtime.bundle import DIGEST_NAME, Bundle
from elir_edge.runtime.ready import ready_bundle
from elir_edge.runtime.restore import Restorer

_DEATHS = 2


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
    """

    source: str
    target: str
    task: str | None
    bundle: str | None
    digest: str
    seed: int
    runtime: str | None

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
    """A restorer on one core; takes names of photos and gives rows of the ledger.

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
        self._source, self._target = Store(work.source), Store(work.target)
        self._careful = reconstructed is not None and reconstructed()
        self._name = f"{platform.node()}:{os.getpid()}"

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Restore a batch, a column `photo` of names, to columns of rows."""
        rows = [asdict(self.restore(str(name))) for name in batch["photo"]]
        return {key: [row[key] for row in rows] for key in rows[0]} if rows else {}

    def restore(self, photo: str) -> Entry:
        """Restore one photo and return its row; a photo that cannot be restored is no error.

        Raises:
            ArchiveError: the storage fails: it is not the photo's fault.
        """
        began = time.perf_counter()
        sizes, reason = (0, 0), ""
        try:
            with _Deaths(self._target, photo, careful=self._careful):
                sizes = self._restore(photo)
        except (ImageError, FileNotFoundError) as error:
            reason = str(error) or type(error).__name__
        except OSError as error:
            raise ArchiveError(f"{photo}: the storage fails ({error})") from error
        return Entry(
            photo=photo,
            status="failed" if reason else "done",
            reason=reason,
            seconds=time.perf_counter() - began,
            bytes_in=sizes[0],
            bytes_out=sizes[1],
            worker=self._name,
        )

    def _restore(self, photo: str) -> tuple[int, int]:
        content = self._source.read(photo)
        name = PurePosixPath(photo).name
        with tempfile.TemporaryDirectory() as scratch:
            before, after = Path(scratch) / "in" / name, Path(scratch) / "out" / name
            before.parent.mkdir()
            before.write_bytes(content)
            try:
                self._restorer.restore_file(before, after)
            except ImageError as error:
                # The photo's own name, not that of the copy in a folder that is gone.
                raise ImageError(str(error).replace(str(before), photo)) from error
            result = after.read_bytes()
        self._target.write(photo, result)
        return len(content), len(result)


class _Deaths:
    """Counts how often a photo's worker died of it, once one has died.

    A mark is written before the work and deleted after it, but only by workers that take a dead
    one's place: as long as all live, it costs nothing.
    """

    def __init__(self, store: Store, photo: str, *, careful: bool) -> None:
        self._store, self._careful, self._photo = store, careful, photo
        digest = hashlib.sha256(photo.encode()).hexdigest()
        self._mark = f"{FOLDER}/.deaths-{digest}"

    def __enter__(self) -> None:
        if not self._careful:
            return
        deaths = len(self._store.read(self._mark)) if self._store.exists(self._mark) else 0
        if deaths + 1 >= _DEATHS:
            raise ImageError(f"{self._photo}: its worker died {_DEATHS} times")
        self._store.write(self._mark, b"x" * (deaths + 1))

    def __exit__(self, *error: object) -> None:
        if self._careful:
            self._store.delete(self._mark)
