"""What a command is to restore, and where to: originals are safe."""

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elir_edge.errors import ImageError, UsageError

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """What is to be restored, and what is left alone.

    Attributes:
        todo: (source, target) of each image.
        existing: sources whose target is there already.
        others: files that are no images.
        folders: subfolders that are not entered.
    """

    todo: list[tuple[Path, Path]]
    existing: list[Path]
    others: list[Path]
    folders: list[Path] = field(default_factory=list)

    def summary(self) -> list[str]:
        """Return a line for each kind of file that is left alone."""
        kinds = ((self.existing, "restored before"), (self.others, "no image"))
        return [f"skipped {len(paths)} ({why}): {_listed(paths)}" for paths, why in kinds if paths]

    def not_entered(self) -> list[str]:
        """Return a line about subfolders that are not entered, if there are any."""
        names = _listed(self.folders)
        return [f"left out, without --recursive: {names}"] if self.folders else []


def mask_of(photo: Path, source: Path, mask: Path | None, suffixes: tuple[str, ...]) -> Path | None:
    """Return the mask of a photo: the one mask, or the one of the same name in a folder.

    Args:
        photo: an input.
        source: the photo itself, or the folder of all photos.
        mask: an image, or a folder that mirrors `source`; None: no mask.
        suffixes: of image files, in lower case.

    Raises:
        UsageError: no such mask, or several.
    """
    if mask is None or mask.is_file():
        return mask
    if not mask.is_dir():
        raise UsageError(f"no mask {mask}", fix="check the path")
    inside = photo.parent.relative_to(source) if source.is_dir() else Path()
    found = [
        path
        for path in sorted((mask / inside).glob(f"{glob.escape(photo.stem)}.*"))
        if path.suffix.lower() in suffixes
    ]
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} masks for {photo} in {mask / inside}",
            expected=f"one image named {photo.stem}",
        )
    return found[0]


def refuse_results_in_place_of(inputs: Sequence[Path], results: Sequence[Path]) -> None:
    """Refuse results that would take an input's place, under any name or link.

    Raises:
        UsageError: one would.
    """
    kept = {_identity(path) for path in inputs} - {None}
    for result in results:
        if _identity(result) in kept:
            raise UsageError(
                f"{result} is an input: it would be written over", fix="pass another target"
            )


def plan_jobs(
    source: Path,
    target: Path,
    suffixes: tuple[str, ...],
    *,
    recursive: bool = False,
    force: bool = False,
    skip_existing: bool = False,
    on_unreadable: Callable[[OSError], None] | None = None,
) -> Jobs:
    """Pair images with their results; nothing is read or written yet.

    Args:
        source: an image file, or a folder of them.
        target: the result's file, or the folder for results.
        suffixes: of image files, in lower case.
        recursive: take subfolders too, and mirror them.
        force: results that exist may be replaced.
        skip_existing: results that exist are left alone, with their sources.
        on_unreadable: called with the error of each subfolder that cannot be listed; None: it is
            raised.

    Raises:
        UsageError: a result would take an input's place, or that of a file that exists.
        ImageError: there are no images.
        OSError: a folder cannot be listed.
    """
    if source.is_dir():
        pairs, others = _of_folder(
            source, target, suffixes, recursive=recursive, on_unreadable=on_unreadable
        )
    else:
        pairs, others = [(source, target / source.name if target.is_dir() else target)], []
    refuse_results_in_place_of([path for path, _ in pairs], [result for _, result in pairs])
    if force and source.is_dir() and _is_inside(target, source) and target.exists():
        raise UsageError(
            f"{target} lies among the inputs in {source}: with --force an input could be replaced",
            fix="pass a target outside, or --skip-existing",
        )
    existing = [(path, result) for path, result in pairs if result.exists()]
    if existing and not (force or skip_existing):
        raise UsageError(
            f"{existing[0][1]} exists"
            + (f", as do {len(existing) - 1} other results" if len(existing) > 1 else ""),
            fix="pass --force to replace, or --skip-existing to leave out",
        )
    skipped = {path for path, _ in existing} if skip_existing else set[Path]()
    return Jobs(
        todo=[(path, result) for path, result in pairs if path not in skipped],
        existing=[path for path, _ in pairs if path in skipped],
        others=others,
        folders=[] if recursive else _subfolders(source, target),
    )


def _subfolders(source: Path, target: Path) -> list[Path]:
    """Return the folders in a folder but hidden ones and that of the results; of a file, none."""
    found = sorted(source.iterdir()) if source.is_dir() else []
    return [
        path
        for path in found
        if path.is_dir() and not path.name.startswith(".") and path.resolve() != target.resolve()
    ]


def _of_folder(
    source: Path,
    target: Path,
    suffixes: tuple[str, ...],
    *,
    recursive: bool,
    on_unreadable: Callable[[OSError], None] | None,
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file", expected="a folder, as the source is one")
    if target.resolve() == source.resolve():
        raise UsageError(
            f"results would be written among the inputs in {source}", fix="pass another target"
        )
    found = sorted(_files(source, target.resolve(), recursive, on_unreadable))
    images = [path for path in found if path.suffix.lower() in suffixes]
    others = [path for path in found if path.suffix.lower() not in suffixes]
    if not images:
        raise ImageError(
            f"no images in {source}",
            expected=f"files ending in {' '.join(suffixes)}",
            fix="pass --recursive for those in subfolders" if not recursive else None,
        )
    return [(path, target / path.relative_to(source)) for path in images], others


def _files(
    folder: Path,
    results: Path,
    recursive: bool,
    on_unreadable: Callable[[OSError], None] | None,
) -> Iterator[Path]:
    """Yield the files of a folder; hidden ones, and an earlier run's results, are no inputs.

    With `recursive`, those of subfolders come too; links to folders come as files, which they are
    not: they are told of and not followed.
    """
    try:
        found = list(folder.iterdir())
    except OSError as error:
        if on_unreadable is None:
            raise
        on_unreadable(error)
        return
    for path in found:
        if path.name.startswith("."):
            continue
        if not path.is_dir() or (recursive and path.is_symlink()):
            yield path
        elif recursive and path.resolve() != results:
            yield from _files(path, results, recursive, on_unreadable)


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what two names of one file share, links among them; None: there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _listed(paths: list[Path]) -> str:
    names = ", ".join(path.name for path in paths[:_NAMED])
    return f"{names}, ..." if len(paths) > _NAMED else names
