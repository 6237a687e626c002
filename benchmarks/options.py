"""Options that several benchmarks share."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from elir_edge.errors import UsageError


def writable(path: Path | None) -> Path | None:
    """Refuse a result's file that cannot be written, before minutes are spent on the result.

    Args:
        path: what an option gave; None: nothing.

    Raises:
        UsageError: it is a folder, or its folder can neither be written to nor made.
    """
    if path == Path():
        raise UsageError("the result's file has no name", expected="a file, not the current folder")
    if path is not None and path.is_dir():
        raise UsageError(f"{path} is a folder", expected="a file for the result")
    if path is not None:
        # A file is written beside the old one, in the folder that a link leads to, and renamed.
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise UsageError(
                f"{path} cannot be written", got="a link to itself", fix="pass another"
            )
        _require_writable(target.parent, path)
    return path


def writable_folder(path: Path) -> Path:
    """Refuse a folder of results that can neither be written to nor made.

    Raises:
        UsageError: it is such a folder, or a file.
    """
    _require_writable(Path(os.path.realpath(path)), path)
    return path


def _require_writable(folder: Path, path: Path) -> None:
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        raise UsageError(f"{path} cannot be written", got=f"a file {nearest}", fix="pass another")
    try:
        # What a folder's permissions say does not bind all users, and not all systems of files.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written",
            got=f"{error.strerror or error} in {nearest}",
            fix="pass another",
        ) from error


def require_different(files: Mapping[str, Path | None]) -> None:
    """Refuse one file for two results.

    Args:
        files: by option.

    Raises:
        UsageError: two are the same.
    """
    seen: dict[str, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        other = seen.setdefault(os.path.realpath(path), option)
        if other != option:
            raise UsageError(f"{other} and {option} name the same file", fix="pass another")


def names_of(paths: Sequence[Path], taken: Sequence[str] = ()) -> list[str]:
    """Return names for the rows of files: without folder and suffix, or whole paths.

    Args:
        paths: of the files.
        taken: names that other rows have.
    """
    stems = [path.stem for path in paths]
    unique = len({*stems, *taken}) == len(stems) + len(set(taken))
    return stems if unique else [str(path) for path in paths]


JsonFile = Annotated[Path | None, typer.Option(callback=writable, help="Write the result as JSON.")]
PictureFile = Annotated[Path | None, typer.Option(callback=writable, help="Write a PNG.")]
