"""The browser app's faces in Chromium: found, restored and pasted as by Python."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elir_edge.cli.demo import site_of
from elir_edge.errors import BackendError
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.faces import FaceFinder, FaceRestorer
from elir_edge.runtime.faces.restore import mask_in_picture
from elir_edge.runtime.faces.template import TEMPLATE
from elir_edge.runtime.faces.warp import fit_similarity, invert
from tests.apps.web_app import (
    MINUTE,
    NEEDS,
    App,
    Bytes,
    OpenApp,
    Serving,
    nearness,
    noisy_photo,
    write_png,
)

MIN_PSNR_FACES = 50.0
"""Of pasted faces to Python's: the networks' sums differ by roundings, and with them the places."""

pytestmark = NEEDS


@pytest.fixture(scope="module")
def address(page_folder: Path, bundles: dict[str, Path]) -> Iterator[str]:
    """Return the address of a running server."""
    with Serving(page_folder, [*bundles.values()]) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    """Return what finds faces in Python."""
    try:
        return FaceFinder(threads=1)
    except BackendError as error:
        pytest.skip(str(error))


def face_photo(side: int) -> Bytes:
    """Return scikit-image's astronaut, whose face is a fifth of the side, with noise."""
    from skimage import data

    small = np.asarray(Image.fromarray(data.astronaut()).resize((side, side)), float)
    noise = np.random.default_rng(0).normal(0, 6, small.shape)
    return np.clip(np.rint(small + noise), 0, 255).astype(np.uint8)


def test_faces_are_restored_as_by_python(
    open_app: OpenApp, bundles: dict[str, Path], finder: FaceFinder, tmp_path: Path
) -> None:
    """At least 50 dB where the face is pasted, and not a byte changed elsewhere.

    Points found a hundredth of a pixel beside Python's would move bytes by a step here and there.
    """
    image = face_photo(300)
    expected = FaceRestorer(Restorer(bundles["bfr"]), finder).restore(image)
    (face,) = expected.faces
    matrix = invert(fit_similarity(face.points, TEMPLATE))
    pasted = mask_in_picture(matrix, 300, 300) > 0
    app = open_app()
    app.choose("bfr")
    assert app.page.is_checked("#faces")
    app.load(write_png(image, tmp_path, "astronaut"))
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    near = nearness(found[pasted][None], expected.image[pasted][None])
    print(f"faces: {near:.1f} dB, {(found != expected.image).mean():.2%} of the bytes differ")
    assert near >= MIN_PSNR_FACES
    np.testing.assert_array_equal(found[~pasted], image[~pasted])
    assert "1 face, 0.09 megapixels" in app.page.inner_text("#stats")
    assert app.page.is_hidden("#remark")
    # The twins: half a pixel beside its place; not restored at all.
    beside = (found.astype(int) + np.roll(found, 1, axis=1) + 1) // 2
    for spoilt in (beside.astype(np.uint8), image):
        assert nearness(spoilt[pasted][None], expected.image[pasted][None]) < MIN_PSNR_FACES


def test_faces_on_a_restored_background_and_turned(
    open_app: OpenApp, bundles: dict[str, Path], finder: FaceFinder, tmp_path: Path
) -> None:
    image = np.ascontiguousarray(np.rot90(face_photo(400)[20:190, 80:260]))
    background = Restorer(bundles["denoising"])
    expected = FaceRestorer(Restorer(bundles["bfr"]), finder, background=background).restore(image)
    assert len(expected.faces) == 1
    app = open_app()
    app.choose("denoising", bundles["denoising"].name)
    assert not app.page.is_checked("#faces")
    app.page.check("#faces")
    app.ready()
    app.load(write_png(image, tmp_path, "turned"))
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    near = nearness(found, expected.image)
    print(f"faces on a background: {near:.1f} dB")
    assert near >= MIN_PSNR_FACES
    assert nearness(found, background.restore(image)) < MIN_PSNR_FACES
    assert "tiles, 1 face" in app.page.inner_text("#stats")


def test_a_photo_without_a_face_says_so(
    open_app: OpenApp, finder: FaceFinder, tmp_path: Path
) -> None:
    app = open_app()
    app.choose("bfr")
    app.load(write_png(noisy_photo("cat"), tmp_path, "cat"))
    app.page.click("#restore")
    app.page.wait_for_selector("#stats:has-text('The photo stays as it is.')", timeout=MINUTE)
    assert app.page.inner_text("#remark") == "No face to restore was found."
    assert app.page.is_hidden("#save")
    # One face, cut out: the picture as a whole.
    app.page.uncheck("#faces")
    app.ready()
    assert app.page.is_visible("#whole")
    app.restore()
    assert "1 tile, " in app.page.inner_text("#stats")


def test_without_the_networks_a_line_says_why(
    browser: Any, page_folder: Path, bundles: dict[str, Path], finder: FaceFinder, tmp_path: Path
) -> None:
    served = [bundles["bfr"], bundles["denoising"]]
    site = site_of(page_folder, [Bundle.open(each) for each in served])
    without = dataclasses.replace(site, networks={}, without_faces="none here; fix: install some")
    with Serving(page_folder, served, without) as server:
        app = App(browser.new_page(), f"http://127.0.0.1:{server.server_port}/")
        app.choose("denoising")
        assert app.page.is_hidden("#faces")
        app.choose("bfr")
        assert app.page.is_hidden("#faces")
        assert app.page.is_visible("#whole")
        assert app.page.inner_text("#faces-note") == (
            "Faces in photos are not found: none here; fix: install some"
        )
        assert app.problems == []
        app.page.close()
    altered = tmp_path / "pnet.onnx"
    altered.write_bytes(b"\0" + site.files["/faces/pnet.onnx"].read_bytes()[1:])
    other = dataclasses.replace(site, files={**site.files, "/faces/pnet.onnx": altered})
    with Serving(page_folder, served, other) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/?engine=wasm")
        page.wait_for_selector("body[data-state=ready]", timeout=MINUTE)
        page.check("input[value=bfr]")
        page.wait_for_selector("#message:visible", timeout=MINUTE)
        assert page.inner_text("#message").startswith(
            "pnet.onnx, which finds faces, is not the file that was released; fix: pip install"
        )
        page.close()
