"""Colour in 16 bits per channel, in PNG and TIFF: Pillow has no such images.

Reading: Pillow decodes such files, but keeps one byte of each value, the one that the file's byte
order calls the high one. Decoded a second time under the opposite order, it keeps the other.
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
"""Of PNG, by the number of channels."""


def is_wide(image: Image.Image) -> bool:
    """Whether Pillow's image, not yet decoded, has 16 bits of which decoding would drop 8."""
    if image.mode.startswith("I"):
        return False
    # Planes one after the other have raw modes that do not tell; Pillow takes them for 8 bits.
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    return 16 in np.atleast_1d(bits) or any(
        ";16" in _raw_mode(tile) for tile in getattr(image, "tile", ())
    )


def read_wide(path: Path, frame: int = 0) -> NDArray[np.uint16]:
    """Read 16-bit colour: (H, W, 2 to 4) for gray or RGB, with transparency last; upright.

    Raises:
        ImageError: the channels lie in a way that cannot be read.
    """
    planes = []
    for flip in (False, True):
        with Image.open(path) as opened:
            opened.seek(frame)
            opened.tile = [_with_raw_mode(tile, path, flip=flip) for tile in opened.tile]
            gray = any(_raw_mode(tile) == "RGBA" for tile in opened.tile)
            turn_upright(opened)
            planes.append(np.asarray(opened))
        if gray:  # gray with transparency came as four bytes: all that there is
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
    """Return a PNG file of (H, W, C) values, C from 1 to 4 as in `read_wide`."""
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels, dtype=">u2").view(np.uint8).reshape(height, -1)
    # Each row less the one above ("Up"): photographs become about a quarter smaller.
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
    """Return a TIFF file, compressed, of (H, W, C) values, C from 1 to 4 as in `read_wide`.

    EXIF is not written. Gray with transparency becomes RGB with transparency: Pillow cannot read
    the other.
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
        pixels if channels > 1 else pixels[..., 0],
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
