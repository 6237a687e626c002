"""Tiny photos for archives, and the parts that tests of archives share."""

from pathlib import Path

import numpy as np
from PIL import Image

from elir_edge.runtime.archive import Entry
from elir_edge.runtime.archive.worker import Work, digest_of


def write_photos(folder: Path, count: int, broken: int = 0) -> list[str]:
    """Write tiny photos in subfolders, of which the last ones are damaged; return those' names."""
    rng = np.random.default_rng(0)
    names = []
    for index in range(count):
        name = f"{index % 7}/{index:04d}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        if index >= count - broken:
            path.write_bytes(path.read_bytes()[:50])
            names.append(name)
    return names


def entry(photo: str, status: str = "done") -> Entry:
    """Return a row."""
    return Entry(
        photo=photo,
        status=status,
        reason="" if status == "done" else "cannot be read",
        remarks="",
        seconds=0.5,
        bytes_in=10,
        bytes_out=20,
        worker="m:1",
    )


def work(source: object, target: object, bundle: Path) -> Work:
    """Return what workers need to know of two folders or URLs."""
    return Work(
        source=str(source),
        target=str(target),
        task=None,
        bundle=str(bundle),
        digest=digest_of(bundle),
        seed=0,
        runtime=None,
        run="r1",
    )
