"""Restore a video file."""

from pathlib import Path

from elir_edge.cli.restoring.models import Models
from elir_edge.console import counting_progress, warn
from elir_edge.errors import UsageError


def is_video(path: Path) -> bool:
    """Tell by its suffix whether a path names a video."""
    from elir_edge.runtime.video import VIDEO_SUFFIXES

    return path.suffix.lower() in (*VIDEO_SUFFIXES, ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".3gp")


def restore_video_file(source: Path, target: Path, models: Models, *, force: bool) -> None:
    """Restore a video into another file, with a bar, and say how busy the model was.

    Raises:
        UsageError: the target exists.
        VideoError: the source cannot be read or the target cannot be written.
    """
    from elir_edge.runtime.video import restore_video

    if models.faces:
        raise UsageError("--faces is for photos", fix="leave it out for video")
    if target.is_dir():
        target = target / source.name
    if target.exists() and not (source.exists() and target.samefile(source)) and not force:
        raise UsageError(f"{target} exists", fix="pass --force to replace it")
    with models.open_restorer() as restorer, counting_progress() as progress:
        frames = progress.add_task(source.name, total=None)

        def show(done: int, total: int | None) -> None:
            # What an earlier run had finished says nothing about how long a frame takes.
            if progress.tasks[frames].total is None and total is not None:
                progress.reset(frames, total=total, completed=done)
            progress.update(frames, completed=done, total=total)

        result = restore_video(source, target, restorer, seed=models.seed, progress=show)
    for remark in result.remarks:
        warn(f"{source.name}: {remark.text}")
    again = f" ({result.resumed} by an earlier run)" if result.resumed else ""
    rate = (result.frames - result.resumed) / result.seconds if result.seconds else 0.0
    print(
        f"restored {result.frames} frames{again} into {target}: {rate:.2f} frames per second, "
        f"the model ran {result.utilisation:.0%} of the time"
    )
