"""Restore a video: decoding, the model and encoding at the same time, resumable."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from elir_edge import __version__
from elir_edge.errors import VideoError
from elir_edge.files import replacing_file, sha256_of
from elir_edge.runtime.bundle import DIGEST_NAME, Bundle
from elir_edge.runtime.inputs import Remark
from elir_edge.runtime.video.formats import VIDEO_SUFFIXES, Frame
from elir_edge.runtime.video.library import require_av
from elir_edge.runtime.video.reader import VideoReader
from elir_edge.runtime.video.segments import SegmentFolder
from elir_edge.runtime.video.writer import SegmentEncoder, plan_copies, write_video

SEGMENT_FRAMES = 32
"""Frames between two key frames, which are in the encoder at a time, and are lost by a kill."""
_WAITING = 4
"""Frames that may wait for the model, and as many for the encoder."""
_POLL_SECONDS = 0.1
THREADS = "elir-edge video"
"""Name of the threads of a run."""

T = TypeVar("T")


class RestoresFrames(Protocol):
    """What restores a frame; `Restorer` does."""

    bundle: Bundle

    @property
    def upscale(self) -> int:
        """Output pixels per input pixel, along each axis."""

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""

    def restore(self, image: NDArray[Any]) -> NDArray[Any]:
        """Restore (H, W, 3) uint8."""


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """What `restore_video` has done.

    Attributes:
        path: the restored video.
        frames: in all.
        resumed: of these, how many an earlier run had finished.
        seconds: that the frames of this run took.
        busy: seconds of these in which the model ran.
        remarks: what could not be kept.
    """

    path: Path
    frames: int
    resumed: int
    seconds: float
    busy: float
    remarks: tuple[Remark, ...]

    @property
    def utilisation(self) -> float:
        """Share of the time in which the model ran, 0 to 1."""
        return self.busy / self.seconds if self.seconds else 0.0


def restore_video(
    source: str | Path,
    target: str | Path,
    restorer: RestoresFrames,
    *,
    seed: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> VideoResult:
    """Restore a video file into another, which appears when all of it is done.

    Every frame gets the same noise, so that what does not move does not flicker. Frames that a
    killed run had finished are taken over by the next run of the same request.

    Args:
        source: of a format that FFmpeg reads.
        target: `.mp4`, `.m4v`, `.mov`, `.mkv` (H.264) or `.webm` (VP9).
        restorer: of frames.
        seed: that the restorer was made with.
        progress: called with (frames done, frames in all or None where that is unknown).

    Raises:
        VideoError: the source cannot be read, the target cannot be written, or another program
            restores into it.
        ImageError: the model does not take such frames.
        OSError: the disk is full or refuses.
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        raise VideoError(
            f"cannot write {target.name}",
            got=f"suffix {target.suffix!r}",
            expected=f"one of {' '.join(VIDEO_SUFFIXES)}",
            fix="name the target so",
        )
    if source.exists() and target.exists() and source.samefile(target):
        raise VideoError(f"{target} is an input: it would be written over")
    reader, factor = VideoReader(source), restorer.upscale
    video = reader.format.enlarged(factor)
    copies = plan_copies(source, target)
    with SegmentFolder(target, _request(source, target, restorer, seed)) as segments:
        resumed = segments.frames
        run = _Run(reader, restorer, SegmentEncoder(video, target), segments, progress)
        run.finish()
        with replacing_file(target) as temporary:
            write_video(temporary, video, segments.packets(), source, copies)
        frames = segments.frames
        segments.remove()
    texts = [*reader.remarks, *copies.left_out]
    if reader.fine_colours and factor == 1 and video.pixel_format == "yuv420p":
        texts.append("colours become half as fine as brightness (4:2:0)")
    if segments.replaced:
        texts.append("frames of another request that lay beside the target were deleted")
    return VideoResult(
        path=target,
        frames=frames,
        resumed=resumed,
        seconds=run.seconds,
        busy=run.busy,
        remarks=tuple(Remark(kind="file", text=text) for text in dict.fromkeys(texts)),
    )


def _request(
    source: Path, target: Path, restorer: RestoresFrames, seed: int
) -> dict[str, int | str]:
    """Return all that the encoded frames depend on."""
    status = source.stat()
    return {
        "source": str(source.resolve()),
        "bytes": status.st_size,
        "modified": status.st_mtime_ns,
        "bundle": sha256_of(restorer.bundle.folder / DIGEST_NAME),
        "runtime": restorer.runtime,
        "seed": seed,
        "suffix": target.suffix.lower(),
        "segment_frames": SEGMENT_FRAMES,
        "version": __version__,
        "encoder": f"PyAV {require_av().__version__}",
    }


class _Stopped(Exception):  # noqa: N818 - not an error: another thread has one
    """Another thread has failed, or the program is about to end."""


class _Channel(Generic[T]):
    """A queue of bounded length between two threads, which both leave when a run is stopped."""

    def __init__(self, stopped: threading.Event) -> None:
        self._queue: queue.Queue[T | None] = queue.Queue(_WAITING)
        self._stopped = stopped

    def put(self, item: T | None) -> None:
        """Add an item, or None for the end."""
        while not self._stopped.is_set():
            try:
                return self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise _Stopped

    def __iter__(self) -> Iterator[T]:
        while not self._stopped.is_set():
            try:
                item = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item
        raise _Stopped


class _Run:
    """A thread that decodes, this thread with the model, and a thread that encodes segments."""

    def __init__(
        self,
        reader: VideoReader,
        restorer: RestoresFrames,
        encoder: SegmentEncoder,
        segments: SegmentFolder,
        progress: Callable[[int, int | None], None] | None,
    ) -> None:
        self._reader, self._restorer = reader, restorer
        self._encoder, self._segments = encoder, segments
        self._done = self._done_before = segments.frames
        self._progress = progress
        self._stopped = threading.Event()
        self._decoded: _Channel[Frame] = _Channel(self._stopped)
        self._restored: _Channel[Frame] = _Channel(self._stopped)
        self._failures: list[BaseException] = []
        self.busy = self.seconds = 0.0

    def finish(self) -> None:
        """Restore all frames that are in no segment yet.

        Raises:
            ElirError, OSError: of any of the threads.
        """
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._guarded, args=(work,), name=THREADS, daemon=True)
            for work in (self._decode, self._encode)
        ]
        for thread in threads:
            thread.start()
        try:
            self._restore()
            for thread in threads:
                thread.join()
        except _Stopped:
            pass
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()
            self.seconds = time.perf_counter() - began
        if self._failures:
            raise self._failures[0]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _Stopped:
            pass
        except BaseException as error:
            self._failures.append(error)
            self._stopped.set()

    def _decode(self) -> None:
        for frame in self._reader.read(skip=self._done_before):
            self._decoded.put(frame)
        self._decoded.put(None)

    def _restore(self) -> None:
        if self._progress is not None:
            self._progress(self._done, self._reader.frames)
        for frame in self._decoded:
            began = time.perf_counter()
            pixels = self._restorer.restore(frame.pixels)
            self.busy += time.perf_counter() - began
            self._restored.put(
                Frame(pixels=np.ascontiguousarray(pixels), pts=frame.pts, duration=frame.duration)
            )
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._reader.frames)
        self._restored.put(None)
        if self._progress is not None:
            self._progress(self._done, self._done)  # what was told before may be an estimate

    def _encode(self) -> None:
        frames = iter(self._restored)
        while packets := self._encoder.encode(_first(frames, SEGMENT_FRAMES)):
            self._segments.add(packets)


def _first(items: Iterator[T], count: int) -> Iterator[T]:
    for _ in range(count):
        try:
            yield next(items)
        except StopIteration:
            return
