"""Finished parts of a video, kept beside the target until all of it is done.

A segment holds the encoded packets of a fixed number of frames; the first is a key frame, and no
packet refers to another segment's. It is written whole or not at all: what a killed program leaves
is valid up to its last segment.
"""

import json
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elir_edge.files import write_json, write_whole

_HEADER = struct.Struct("<qqqBI")
_REQUEST = "request.json"


@dataclass(frozen=True, kw_only=True)
class EncodedPacket:
    """A frame as the codec wrote it.

    Attributes:
        pts: when it is shown, in ticks of the source's time base.
        dts: when it is decoded.
        duration: in ticks; 0: unknown.
        key: whether it can be decoded by itself.
        content: its bytes.
    """

    pts: int
    dts: int
    duration: int
    key: bool
    content: bytes


class SegmentFolder:
    """The segments of one request.

    Args:
        target: the video that is to be; the folder lies beside it, hidden.
        request: all that the packets depend on; segments of another request are deleted.
    """

    def __init__(self, target: Path, request: Mapping[str, object]) -> None:
        self.folder = target.resolve().parent / f".{target.name}.segments"
        kept = self.folder / _REQUEST
        same = kept.is_file() and kept.read_bytes() == _as_bytes(request)
        self.replaced = self.folder.is_dir() and not same
        if self.replaced:
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not same:
            write_json(kept, request)

    def __len__(self) -> int:
        count = 0
        while self._path(count).is_file():
            count += 1
        return count

    def add(self, packets: Sequence[EncodedPacket]) -> None:
        """Keep a further segment."""
        parts = []
        for each in packets:
            head = _HEADER.pack(each.pts, each.dts, each.duration, each.key, len(each.content))
            parts += [head, each.content]
        write_whole(self._path(len(self)), b"".join(parts))

    def packets(self) -> Iterator[EncodedPacket]:
        """Yield all packets in order, one segment in memory at a time."""
        for index in range(len(self)):
            yield from self._read(index)

    def last_pts(self) -> int | None:
        """Return when the last finished frame is shown; None: there is none."""
        count = len(self)
        return max(each.pts for each in self._read(count - 1)) if count else None

    def frames(self) -> int:
        """Return how many frames are finished."""
        return sum(1 for _ in self.packets())

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.packets"

    def _read(self, index: int) -> Iterator[EncodedPacket]:
        content, at = self._path(index).read_bytes(), 0
        while at < len(content):
            pts, dts, duration, key, size = _HEADER.unpack_from(content, at)
            at += _HEADER.size
            yield EncodedPacket(
                pts=pts, dts=dts, duration=duration, key=bool(key), content=content[at : at + size]
            )
            at += size


def _as_bytes(request: Mapping[str, object]) -> bytes:
    return (json.dumps(request, indent=2) + "\n").encode()
