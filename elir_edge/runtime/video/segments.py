"""Finished parts of a video, kept beside the target until all of it is done.

A segment holds the encoded packets of consecutive frames; the first is a key frame, and no packet
refers to another segment's. It is written whole or not at all: what a killed program leaves is
valid up to its last segment.
"""

import json
import shutil
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from elir_edge.errors import VideoError
from elir_edge.files import write_json, write_whole
from elir_edge.runtime.closeable import Closeable
from elir_edge.runtime.locking import lock
from elir_edge.runtime.video.formats import EncodedPacket

_HEADER = struct.Struct("<qqqBI")
_REQUEST, _LOCK = "request.json", "lock"


def segments_folder(target: Path) -> Path:
    """Return the folder in which finished frames wait for the rest of a video."""
    return target.resolve().parent / f".{target.name}.segments"


class SegmentFolder(Closeable):
    """The segments of one request; a context manager that lets other programs have the folder.

    A folder without a segment is deleted at the end of the `with`: it would spare nothing.

    Args:
        target: the video that is to be; the folder lies beside it, hidden.
        request: all that the packets depend on; segments of another request are deleted.

    Attributes:
        replaced: whether segments of another request were deleted.
        frames: how many are finished.

    Raises:
        VideoError: another program restores into the same target, or a segment is damaged.
        OSError: the folder cannot be written to.
    """

    def __init__(self, target: Path, request: Mapping[str, object]) -> None:
        self.folder = segments_folder(target)
        try:
            self._release = lock(self.folder / _LOCK)
        except BlockingIOError as error:
            raise VideoError(
                f"another program is restoring into {target}",
                fix="wait for it, or pass another target",
            ) from error
        try:
            kept = self.folder / _REQUEST
            same = kept.is_file() and kept.read_bytes() == _as_bytes(request)
            self.replaced = not same and self._path(0).is_file()
            self._count = self._consecutive() if same else 0
            self._clear()
            if not same:
                write_json(kept, request)
            self.frames = sum(1 for _ in self.packets())
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Release the folder, and delete it where it holds no segment."""
        if not self._count and self.folder.is_dir():
            self.remove()
        self._release()

    def __len__(self) -> int:
        return self._count

    def add(self, packets: Sequence[EncodedPacket]) -> None:
        """Keep a further segment.

        Raises:
            OSError: it cannot be written.
        """
        parts = []
        for each in packets:
            head = _HEADER.pack(each.pts, each.dts, each.duration, each.key, len(each.content))
            parts += [head, each.content]
        write_whole(self._path(self._count), b"".join(parts))
        self._count += 1
        self.frames += len(packets)

    def packets(self) -> Iterator[EncodedPacket]:
        """Yield all packets in order, one segment in memory at a time."""
        for index in range(self._count):
            yield from self._read(index)

    def remove(self) -> None:
        """Delete the folder and all segments."""
        # The request first: a folder that is deleted by half belongs to none.
        (self.folder / _REQUEST).unlink(missing_ok=True)
        # Windows keeps what is open, which is the lock.
        shutil.rmtree(self.folder, ignore_errors=sys.platform == "win32")
        self._count = self.frames = 0

    def _consecutive(self) -> int:
        count = 0
        while self._path(count).is_file():
            count += 1
        return count

    def _clear(self) -> None:
        """Delete what is no segment of the request, such as one that was being written."""
        kept = {self._path(index) for index in range(self._count)}
        for path in self.folder.iterdir():
            if path not in kept and path.name not in (_REQUEST, _LOCK):
                path.unlink()

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.packets"

    def _read(self, index: int) -> Iterator[EncodedPacket]:
        content, at = self._path(index).read_bytes(), 0
        while at < len(content):
            start = at + _HEADER.size
            if start <= len(content):
                pts, dts, duration, key, size = _HEADER.unpack_from(content, at)
            if start > len(content) or start + size > len(content):
                raise VideoError(
                    f"{self._path(index)} is damaged", fix=f"delete {self.folder} and begin anew"
                )
            at = start + size
            yield EncodedPacket(
                pts=pts, dts=dts, duration=duration, key=bool(key), content=content[start:at]
            )


def _as_bytes(request: Mapping[str, object]) -> bytes:
    return (json.dumps(request, indent=2) + "\n").encode()
