"""Options that several benchmarks share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from elir_edge.errors import UsageError


def writable(path: Path | None) -> Path | None:
    """Refuse a result's file that cannot be written, before minutes are spent on the result.

    Args:
        path: what an option gave; None: nothing.

    Raises:
        UsageError: it is a folder, or neither it nor its folder can be written.
    """
    if path is None:
        return None
    if path.is_dir():
        raise UsageError(f"{path} is a folder", expected="a file for the result")
    # Folders that are missing are made when the file is written.
    nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
    if nearest != path and not nearest.is_dir():
        raise UsageError(f"{path} cannot be written", got=f"a file {nearest}", fix="pass another")
    if not os.access(nearest, os.W_OK):
        raise UsageError(f"{path} cannot be written", fix=f"pass another, or chmod {nearest}")
    return path


JsonFile = Annotated[Path | None, typer.Option(callback=writable, help="Write the result as JSON.")]
PictureFile = Annotated[Path | None, typer.Option(callback=writable, help="Write a PNG.")]
