"""What became of each photo, as Parquet beside the results; the only file that imports pyarrow."""

import contextlib
import io
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from elir_edge.errors import ArchiveError, UsageError
from elir_edge.runtime.archive.store import Store, missing_package
from elir_edge.runtime.locking import lock

FOLDER = "_ledger"
_REQUEST = f"{FOLDER}/_request.json"  # readers of Parquet pass over names that begin so


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A photo's row.

    Attributes:
        photo: its name below the source.
        status: `done` or `failed`.
        reason: why it failed; empty where it did not.
        remarks: what of the file could not be kept, and in a word each what about the photo is
            unlike those that the model learned to restore.
        seconds: that it took.
        bytes_in: size of the photo.
        bytes_out: size of the result.
        worker: machine and process that restored it.
    """

    photo: str
    status: str
    reason: str
    remarks: str
    seconds: float
    bytes_in: int
    bytes_out: int
    worker: str


class Ledger:
    """The rows of all runs of one request, in files that are only ever added.

    Args:
        store: the target of the results; the ledger is a folder of it.
        request: all that the results depend on.

    Raises:
        UsageError: the target holds results of another request, or files without a ledger.
        ArchiveError: pyarrow is missing.
        OSError: the storage fails.
    """

    def __init__(self, store: Store, request: Mapping[str, object]) -> None:
        self._store, self._arrow = store, _require_arrow()
        self._run = secrets.token_hex(4)
        text = (json.dumps(request, indent=2, sort_keys=True) + "\n").encode()
        kept = store.read(_REQUEST) if store.exists(_REQUEST) else None
        if kept != text:
            self._require_no_results(kept, text)
            store.write(_REQUEST, text)
        self._parts = sum(1 for _ in self._names())

    def _require_no_results(self, kept: bytes | None, asked: bytes) -> None:
        files = self._store.names() if self._store.is_folder() else iter(())
        if all(name == _REQUEST for name in files):
            return
        if kept is None:
            raise UsageError(
                f"{self._store.url} holds files, and no ledger that tells what they are",
                fix="pass an empty or a new target",
            )
        raise UsageError(
            f"{self._store.url} holds the results of another request",
            got=_difference(kept, asked),
            fix="pass another target, or the bundle and options of before",
        )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other programs from adding rows, where the target is a folder of this machine.

        Raises:
            ArchiveError: another program adds rows, or filelock is missing.
        """
        if not self._store.local:
            yield
            return
        try:
            release = lock(self._store.path(f"{FOLDER}/.lock"))
        except ModuleNotFoundError as error:
            raise missing_package(error) from error
        except BlockingIOError as error:
            raise ArchiveError(
                f"another program is restoring into {self._store.url}",
                fix="wait for it, or pass another target",
            ) from error
        try:
            yield
        finally:
            release()

    def add(self, entries: Sequence[Entry]) -> int:
        """Keep further rows in a file of their own, and return its size in bytes.

        Raises:
            OSError: it cannot be written.
        """
        table = self._arrow.Table.from_pylist([asdict(entry) for entry in entries])
        content = io.BytesIO()
        self._parquet().write_table(table, content, compression="zstd")
        # Named for the run as well: where programs cannot be locked out, no file is replaced.
        name = f"part-{self._parts:08d}-{self._run}.parquet"
        self._store.write(f"{FOLDER}/{name}", content.getvalue())
        self._parts += 1
        return len(content.getvalue())

    def photos(self) -> tuple[set[str], set[str]]:
        """Return the names of all photos that have a row, and of those of them that failed.

        Raises:
            ArchiveError: a file of the ledger is damaged.
            OSError: the storage fails.
        """
        known, failed = set[str](), set[str]()
        for name in self._names():
            for row in self._rows(name, ["photo", "status"]):
                known.add(row["photo"])
                if row["status"] == "failed":
                    failed.add(row["photo"])
        return known, failed

    def entries(self) -> Iterator[Entry]:
        """Yield all rows, one file in memory at a time.

        Raises:
            ArchiveError: a file of the ledger is damaged.
            OSError: the storage fails.
        """
        for name in self._names():
            for row in self._rows(name, None):
                yield Entry(**row)

    def _rows(self, name: str, columns: list[str] | None) -> list[dict[str, Any]]:
        with self._store.open(f"{FOLDER}/{name}") as file:
            content = io.BytesIO(file.read())
        try:
            rows: list[dict[str, Any]] = (
                self._parquet().read_table(content, columns=columns).to_pylist()
            )
        except (self._arrow.ArrowException, OSError) as error:
            raise ArchiveError(
                f"{name} of the ledger is damaged ({error})",
                fix="delete it: its photos are restored again, to the same results",
            ) from error
        return rows

    def _parquet(self) -> ModuleType:
        from pyarrow import parquet

        module: ModuleType = parquet
        return module

    def _names(self) -> Iterator[str]:
        if self._store.exists(FOLDER):
            for name in self._store.names(FOLDER):
                if name.endswith(".parquet"):
                    yield name


def _require_arrow() -> ModuleType:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    module: ModuleType = pyarrow
    return module


def _difference(kept: bytes, asked: bytes) -> str:
    try:
        before = json.loads(kept)
    except ValueError:
        before = None
    if not isinstance(before, dict):
        return "a damaged _request.json"
    now = json.loads(asked)
    return ", ".join(
        f"{key} {before.get(key)} before and {now.get(key)} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    )
