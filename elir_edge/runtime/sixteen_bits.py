"""Read and write 16-bit colour in PNG and TIFF, which Pillow does not support.

Pillow decodes such files, but keeps only the high byte of each value, as given by the file's byte
order. Decoding the file a second time with the opposite byte order gives the low byte.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import ImageError
from elir_edge.runtime.metadata import Metadata, save_options, turn_upright

_OTHER_ORDER = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
}
_BITS_PER_SAMPLE = 258
_NATIVE = "L" if np.little_endian else "B"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour types by the number of channels."""


def is_wide(image: Image.Image) -> bool:
    """Tell whether decoding a Pillow image, not yet decoded, would drop 8 of its 16 bits."""
    if image.mode.startswith("I"):
        return False
    # The raw modes of planar files do not show 16 bits; Pillow reads such files as 8 bits.
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    return 16 in np.atleast_1d(bits) or any(
        ";16" in _raw_mode(tile) for tile in getattr(image, "tile", ())
    )


def read_wide(path: Path, frame: int = 0) -> NDArray[np.uint16]:
    """Read 16-bit colour and apply the EXIF rotation.

    Args:
        path: PNG or TIFF file for which `is_wide` is true.
        frame: index of the frame or page.

    Returns:
        (H, W, C) with C = 2 for gray with transparency, 3 for RGB, 4 for RGB with transparency.

    Raises:
        ImageError: the layout of the channels cannot be read.
    """
    planes = []
    for flip in (False, True):
        with Image.open(path) as opened:
            opened.seek(frame)
            opened.tile = [_with_raw_mode(tile, path, flip=flip) for tile in opened.tile]
            gray = any(_raw_mode(tile) == "RGBA" for tile in opened.tile)
            turn_upright(opened)
            planes.append(np.asarray(opened))
        if gray:  # gray with transparency was read as four bytes, which are all bytes of a pixel
            return _joined(planes[0][..., 0::2], planes[0][..., 1::2])
    return _joined(*planes)


def _joined(high: NDArray[Any], low: NDArray[Any]) -> NDArray[np.uint16]:
    values: NDArray[np.uint16] = high.astype(np.uint16) << np.uint16(8) | low.astype(np.uint16)
    return values


def _raw_mode(tile: Any) -> str:
    found = tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]
    return str(found)


def _with_raw_mode(tile: Any, path: Path, *, flip: bool) -> Any:
    mode = _raw_mode(tile).replace(";16N", f";16{_NATIVE}")
    if mode == "LA;16B":
        mode = "RGBA"
    elif mode not in _OTHER_ORDER:
        raise ImageError(
            f"{path} has 16 bits in an order that cannot be read ({mode})",
            fix="save it as 16-bit PNG",
        )
    elif flip:
        mode = _OTHER_ORDER[mode]
    rest = () if isinstance(tile.args, str) else tuple(tile.args[1:])
    return tile._replace(args=(mode, *rest) if rest else mode)


def encode_png(pixels: NDArray[np.uint16], metadata: Metadata) -> bytes:
    """Encode (H, W, C) as PNG, C from 1 (gray) to 4 as in `read_wide`."""
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels, dtype=">u2").view(np.uint8).reshape(height, -1)
    # The filter "Up" subtracts the row above, which makes photographs about a quarter smaller.
    differences = np.diff(rows, axis=0, prepend=np.zeros((1, rows.shape[1]), np.uint8))
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), differences], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        (
            _PNG_SIGNATURE,
            _chunk(b"IHDR", header),
            *_metadata_chunks(metadata),
            _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def _metadata_chunks(metadata: Metadata) -> Iterator[bytes]:
    """Yield the chunks that Pillow writes for the metadata, taken from a file of one pixel."""
    small = io.BytesIO()
    Image.new("RGB", (1, 1)).save(small, "PNG", **save_options(metadata, "PNG"))
    content, at = small.getvalue(), len(_PNG_SIGNATURE)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        whole = content[at : at + 12 + length]
        if whole[4:8] not in (b"IHDR", b"IDAT", b"IEND"):
            yield whole
        at += len(whole)


def encode_tiff(pixels: NDArray[np.uint16], metadata: Metadata) -> bytes:
    """Encode (H, W, C) as compressed TIFF, C from 1 (gray) to 4 as in `read_wide`.

    EXIF is not written. Gray with transparency becomes RGB with transparency, because Pillow cannot
    read 16-bit gray with transparency.
    """
    import tifffile

    if pixels.shape[2] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
    channels = pixels.shape[2]
    extra = []
    if metadata.icc_profile is not None:
        extra.append((34675, 7, len(metadata.icc_profile), metadata.icc_profile, True))
    if metadata.xmp is not None:
        extra.append((700, 1, len(metadata.xmp), metadata.xmp, True))
    encoded = io.BytesIO()
    tifffile.imwrite(
        encoded,
        pixels[..., 0] if channels == 1 else pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=("unassalpha",) if channels == 4 else None,
        compression="zlib",
        resolution=metadata.dpi,
        resolutionunit="INCH" if metadata.dpi else None,
        extratags=extra,
        metadata=None,
    )
    return encoded.getvalue()
