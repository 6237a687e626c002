"""What became of each photo, as Parquet beside the results; the only file that imports pyarrow."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from elir_edge.errors import ArchiveError, UsageError
from elir_edge.runtime.archive.store import Store, missing_package

FOLDER = "_ledger"
_REQUEST = f"{FOLDER}/request.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A photo's row.

    Attributes:
        photo: its name below the source.
        status: `done` or `failed`.
        reason: why it failed; empty where it did not.
        seconds: that it took.
        bytes_in: size of the photo.
        bytes_out: size of the result.
        worker: machine and process that restored it.
    """

    photo: str
    status: str
    reason: str
    seconds: float
    bytes_in: int
    bytes_out: int
    worker: str


class Ledger:
    """The rows of all runs of one request, in files that are only ever added.

    Args:
        store: the results'; the ledger is a folder of it.
        request: what the results depend on.

    Raises:
        UsageError: the folder has a ledger of another request, or files without one.
        ArchiveError: pyarrow is missing, or a file of the ledger is damaged.
    """

    def __init__(self, store: Store, request: Mapping[str, object]) -> None:
        self._store, self._arrow = store, _require_arrow()
        text = (json.dumps(request, indent=2, sort_keys=True) + "\n").encode()
        if store.exists(_REQUEST):
            kept = store.read(_REQUEST)
            if kept != text:
                raise UsageError(
                    f"{store.url} holds the results of another request",
                    got=_difference(kept, text),
                    fix="pass another target, or the bundle and options of before",
                )
        elif store.is_folder() and next(store.names(), None) is not None:
            raise UsageError(
                f"{store.url} holds files, and no ledger that tells what they are",
                fix="pass an empty or a new target",
            )
        else:
            store.write(_REQUEST, text)
        self._parts = sum(1 for _ in self._names())

    def add(self, entries: Sequence[Entry]) -> int:
        """Keep further rows in a file of their own; returns its size in bytes."""
        table = self._arrow.Table.from_pylist([asdict(entry) for entry in entries])
        content = io.BytesIO()
        self._parquet().write_table(table, content, compression="zstd")
        self._store.write(f"{FOLDER}/part-{self._parts:08d}.parquet", content.getvalue())
        self._parts += 1
        return len(content.getvalue())

    def photos(self) -> set[str]:
        """Return the names of all photos that have a row."""
        found: set[str] = set()
        for name in self._names():
            found.update(self._read(name, ["photo"]).column("photo").to_pylist())
        return found

    def entries(self) -> Iterator[Entry]:
        """Yield all rows, one file in memory at a time."""
        for name in self._names():
            for row in self._read(name, None).to_pylist():
                yield Entry(**row)

    def _read(self, name: str, columns: list[str] | None) -> Any:
        with self._store.open(f"{FOLDER}/{name}") as file:
            try:
                return self._parquet().read_table(file, columns=columns)
            except self._arrow.ArrowException as error:
                raise ArchiveError(f"{name} of the ledger is damaged ({error})") from error

    def _parquet(self) -> ModuleType:
        from pyarrow import parquet

        module: ModuleType = parquet
        return module

    def _names(self) -> Iterator[str]:
        for name in Store(f"{self._store.url.rstrip('/')}/{FOLDER}").names():
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
        before, now = json.loads(kept), json.loads(asked)
        return ", ".join(
            f"{key} {before.get(key)} before and {now.get(key)} now"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        )
    except ValueError:
        return "a damaged request.json"
