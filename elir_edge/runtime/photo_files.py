"""What all restorers of image files do before and after their work."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elir_edge.errors import ImageError
from elir_edge.runtime.images import ImageFile, check_format, read_image_file
from elir_edge.runtime.inputs import Remark


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """What `restore_file` has done.

    Attributes:
        path: the restored file.
        remarks: what about the photo is unlike those that the model learned to restore, and what
            of the file could not be kept.
    """

    path: Path
    remarks: tuple[Remark, ...]


def read_to_restore(
    source: Path, target: Path, *, upscale: int, others: Sequence[Path] = ()
) -> tuple[ImageFile, tuple[Remark, ...]]:
    """Read an image file that is to be restored into another.

    Args:
        source: of a format that is read.
        target: its suffix says the format, which is checked before the work, not after it.
        upscale: how many times larger the result will be.
        others: further inputs.

    Returns:
        The content, and what of the file cannot be kept.

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
