"""The reading of image files and the results that all restorers of image files share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elir_edge.errors import ImageError
from elir_edge.runtime.images import ImageFile, check_format, read_image_file
from elir_edge.runtime.inputs import Remark


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """The result of `restore_file`.

    Attributes:
        path: path of the restored file.
        remarks: how the photo differs from those that the model was trained to restore, and which
            parts of the file could not be kept.
    """

    path: Path
    remarks: tuple[Remark, ...]


def read_to_restore(
    source: Path, target: Path, *, upscale: int, others: Sequence[Path] = ()
) -> tuple[ImageFile, tuple[Remark, ...]]:
    """Read an image file, and check that its restored version can be written to another file.

    Args:
        source: the image file.
        target: the file to be written; its suffix determines the format.
        upscale: factor by which the result is larger.
        others: further input files.

    Returns:
        The content, and remarks on the parts of the file that cannot be kept.

    Raises:
        ImageError: the source cannot be read, the target cannot hold what the source does, or the
            target is an input.
    """
    for given in (source, *others):
        if given.exists() and target.exists() and given.samefile(target):
            raise ImageError(f"{target} is an input: it would be written over")
    content = read_image_file(source)
    lost = check_format(target, content, upscale=upscale)
    kept = tuple(Remark(kind="file", text=text) for text in (*content.remarks, *lost))
    return content, kept
