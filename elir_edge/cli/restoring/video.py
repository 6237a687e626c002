"""Restore a video file."""

from pathlib import Path

from elir_edge.cli.restoring.jobs import refuse_results_in_place_of
from elir_edge.cli.restoring.models import Models
from elir_edge.cli.restoring.photos import require_writable
from elir_edge.console import counting_progress, warn
from elir_edge.errors import UsageError
from elir_edge.files import sweep_leftovers

_READ_ONLY = (
    ".avi",
    ".flv",
    ".m2ts",
    ".mpeg",
    ".mpg",
    ".mts",
    ".mxf",
    ".ogv",
    ".ts",
    ".vob",
    ".wmv",
    ".3gp",
)
"""Suffixes of further videos that are read."""


def is_video(path: Path) -> bool:
    """Tell by its suffix whether a path names a video."""
    from elir_edge.runtime.video import VIDEO_SUFFIXES

    return path.suffix.lower() in (*VIDEO_SUFFIXES, *_READ_ONLY)


def restore_video_file(
    source: Path, target: Path, models: Models, *, force: bool, skip_existing: bool
) -> None:
    """Restore a video into another file, with a bar, and say how busy the model was.

    Raises:
        UsageError: the target exists, or is the source.
        VideoError: the source cannot be read or the target cannot be written.
    """
    from elir_edge.runtime.video import restore_video, segments_folder

    if models.faces:
        raise UsageError("--faces is for photos", fix="leave it out for video")
    if target.is_dir():
        target = target / source.name
    refuse_results_in_place_of([source], [target])
    if target.exists() and skip_existing:
        print(f"skipped 1 (restored before): {source.name}")
        return
    if target.exists() and not force:
        raise UsageError(
            f"{target} exists", fix="pass --force to replace it, or --skip-existing to leave it"
        )
    require_writable([target.parent])
    sweep_leftovers(target.parent)
    with models.open_restorer() as restorer, counting_progress() as progress:
        frames = progress.add_task(source.name, total=None)

        def show(done: int, total: int | None) -> None:
            # What an earlier run had finished says nothing about how long a frame takes.
            if progress.tasks[frames].total is None and total is not None:
                progress.reset(frames, total=total, completed=done)
            progress.update(frames, completed=done, total=total)

        try:
            result = restore_video(source, target, restorer, seed=models.seed, progress=show)
        except BaseException:
            if segments_folder(target).is_dir():
                warn(f"{segments_folder(target)} keeps the frames that are done: run this again")
            raise
    for remark in result.remarks:
        warn(f"{source.name}: {remark.text}")
    again = f" ({result.resumed} by an earlier run)" if result.resumed else ""
    rate = (result.frames - result.resumed) / result.seconds if result.seconds else 0.0
    print(
        f"restored {result.frames} frames{again} into {target}: {rate:.2f} frames per second, "
        f"the model ran {result.utilisation:.0%} of the time"
    )
