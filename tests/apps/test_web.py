"""The browser app in Chromium: it gives what Python's runtime gives, offline, to everybody."""

import base64
import dataclasses
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elir_edge.cli.demo import Server, Site, site_of
from elir_edge.errors import BackendError
from elir_edge.metrics import psnr
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.faces import FaceFinder, FaceRestorer
from elir_edge.runtime.faces.restore import mask_in_picture
from elir_edge.runtime.faces.template import TEMPLATE
from elir_edge.runtime.faces.warp import fit_similarity, invert

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `dev`")

ROOT = Path(__file__).parents[2]
WEB = ROOT / "apps" / "web"
SIZE = 64
FACE_SIZE = 128
"""Of the model of faces: a face is reduced to it by four."""
MIN_PSNR = 60.0
"""Of the page's bytes to Python's: a byte in some hundred may round to its neighbour."""
MIN_PSNR_INT8 = 35.0
"""Of an int8 bundle's bytes to those of fp32: the export's gate."""
MIN_PSNR_FACES = 50.0
"""Of pasted faces to Python's: the networks' sums differ by roundings, and with them the places."""
MINUTE = 60_000
"""In milliseconds, as Playwright counts."""
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm"),
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
]

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="module")
def page_folder() -> Path:
    """Return the page as `make demo` builds it."""
    subprocess.run(["make", "--no-print-directory", "page"], cwd=ROOT, check=True)
    return WEB / "dist"


@pytest.fixture(scope="module")
def bundles(quick_search: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return small bundles of the shipped weights: of four tasks, and one in int8."""
    from export.plan import run_export
    from export.request import Request

    out = tmp_path_factory.mktemp("dist")

    def exported(task: str, **more: Any) -> Path:
        return run_export(Request(task=task, target="onnx", out=out, **more)).folder

    return {
        "denoising": exported("denoising", size=SIZE),
        "bsr": exported("bsr", size=SIZE),
        "inpainting": exported("inpainting", size=SIZE),
        "bfr": exported("bfr", size=FACE_SIZE),
        # A search of seconds on four crops: whether it keeps the gate is asked below.
        "int8": exported("denoising", size=SIZE, precision="int8", crops=4, enforce_gates=False),
    }


@pytest.fixture(scope="module")
def address(page_folder: Path, bundles: dict[str, Path]) -> Iterator[str]:
    """Return the address of a running server."""
    with Serving(page_folder, [*bundles.values()]) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


class Serving:
    """Serves a page with bundles, or another site, while the block runs."""

    def __init__(self, page: Path, bundles: list[Path], site: Site | None = None) -> None:
        site = site or site_of(page, [Bundle.open(each) for each in bundles])
        self.server = Server(0, site)
        self._thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Server:
        self._thread.start()
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a headless Chromium whose camera is made up."""
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=_CHROMIUM,
            args=[
                "--no-sandbox",  # which root does not have
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ],
        )
        yield running
        running.close()


class App:
    """The page, as a user handles it."""

    def __init__(self, page: Any, address: str, query: str = "?engine=wasm") -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(address + query)
        self.ready()

    def _hear(self, message: Any) -> None:
        # Chromium's own remark where the page asks for a GPU and there is none.
        if message.type in ("error", "warning") and message.text != "No available adapters.":
            self.problems.append(message.text)

    def ready(self) -> None:
        self.page.wait_for_selector("body[data-state=ready]", timeout=3 * MINUTE)

    def choose(self, task: str, model: str | None = None) -> None:
        self.page.check(f"input[value={task}]")
        if model is not None and self.page.is_visible("#model"):
            self.page.select_option("#model", model)
        self.ready()

    def load(self, path: Path) -> None:
        self.page.set_input_files("#file", path)
        self.page.wait_for_selector(f"#photo-name:has-text('{path.name}')")

    def restore(self) -> None:
        self.page.click("#restore")
        self.page.wait_for_selector("#save:visible", timeout=5 * MINUTE)

    def saved(self, target: Path, *, lossless: bool = True) -> tuple[str, Image.Image]:
        """Save the result; return its name and content."""
        self.page.select_option("#format", "png" if lossless else "own")
        with self.page.expect_download() as download:
            self.page.click("#save")
        download.value.save_as(target)
        return download.value.suggested_filename, Image.open(target)

    def message(self) -> str:
        self.page.wait_for_selector("#message:visible")
        text: str = self.page.inner_text("#message")
        return text


OpenApp = Callable[..., App]


@pytest.fixture
def open_app(browser: Any, address: str) -> Iterator[OpenApp]:
    """Return a function that opens the page; what a test leaves on its console fails it."""
    contexts, apps = [], []

    def opened(address: str = address, query: str = "?engine=wasm", **options: Any) -> App:
        contexts.append(browser.new_context(accept_downloads=True, **options))
        apps.append(App(contexts[-1].new_page(), address, query))
        return apps[-1]

    yield opened
    for context in contexts:
        context.close()
    assert [app.problems for app in apps] == [[] for _ in apps]


def _photo(name: str) -> Bytes:
    """Return scikit-image's photo with noise: colour or gray, as large as the tile or not."""
    from skimage import data

    clean = {
        "cat": lambda: data.chelsea()[60:190, 100:251],  # larger than a tile, and no multiple
        "camera": lambda: data.camera()[100 : 100 + SIZE, 200 : 200 + SIZE],  # gray, one tile
        "coffee": lambda: data.coffee()[100:163, 200:240],  # smaller than a tile
    }[name]()
    noise = np.random.default_rng(0).normal(0, 25, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def _write(image: Bytes, folder: Path, name: str) -> Path:
    path = folder / f"{name}.png"
    Image.fromarray(image).save(path)
    return path


def _face(side: int) -> Bytes:
    """Return scikit-image's astronaut, whose face is a fifth of the side, with noise."""
    from skimage import data

    small = np.asarray(Image.fromarray(data.astronaut()).resize((side, side)), float)
    noise = np.random.default_rng(0).normal(0, 6, small.shape)
    return np.clip(np.rint(small + noise), 0, 255).astype(np.uint8)


def _near(found: Bytes, expected: Bytes) -> float:
    """Return the PSNR in dB of images of one size; gray ones have one channel or three equal."""
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert found.shape == expected.shape
    return psnr(found.astype(np.float32) / 255, expected.astype(np.float32) / 255)


@pytest.mark.parametrize("task", ["denoising", "bsr"])
@pytest.mark.parametrize("name", ["cat", "camera", "coffee"])
def test_the_page_gives_what_python_gives(
    name: str, task: str, open_app: OpenApp, bundles: dict[str, Path], tmp_path: Path
) -> None:
    image = _photo(name)
    if task == "bsr":
        image = np.ascontiguousarray(image[: 2 * len(image) // 5, : 3 * image.shape[1] // 5])
    app = open_app()
    app.choose(task, bundles[task].name)
    app.load(_write(image, tmp_path, name))
    app.restore()
    saved_as, result = app.saved(tmp_path / "result.png")
    assert saved_as == f"{name}.png"
    found = np.asarray(result.convert("RGB"))
    expected = Restorer(bundles[task]).restore(image)
    near = _near(found, expected)
    print(f"{task} {name} {image.shape}: {near:.1f} dB")
    assert near >= MIN_PSNR
    # The twins: another photo's pixels in one tile; a shift by a pixel.
    spoilt = found.copy()
    spoilt[:16, :16] = 255 - spoilt[:16, :16]
    assert _near(spoilt, expected) < MIN_PSNR
    assert _near(np.roll(found, 1, axis=1), expected) < MIN_PSNR
    assert "megapixels a second" in app.page.inner_text("#stats")


def test_int8_is_within_its_gate(
    open_app: OpenApp, bundles: dict[str, Path], tmp_path: Path
) -> None:
    image = _photo("cat")
    plain = Restorer(bundles["denoising"]).restore(image)
    app = open_app()
    app.choose("denoising", bundles["int8"].name)
    app.load(_write(image, tmp_path, "cat"))
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    to_fp32 = _near(found, plain)
    to_int8 = _near(found, Restorer(bundles["int8"]).restore(image))
    print(f"int8: {to_fp32:.1f} dB to fp32, {to_int8:.1f} dB to int8 in Python")
    assert to_fp32 >= MIN_PSNR_INT8
    assert to_int8 >= MIN_PSNR_INT8
    assert _near(np.roll(found, 1, axis=1), plain) < MIN_PSNR_INT8


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    """Return what finds faces in Python."""
    try:
        return FaceFinder(threads=1)
    except BackendError as error:
        pytest.skip(str(error))


def test_faces_are_restored_as_by_python(
    open_app: OpenApp, bundles: dict[str, Path], finder: FaceFinder, tmp_path: Path
) -> None:
    """At least 50 dB where the face is pasted, and not a byte changed elsewhere.

    Points found a hundredth of a pixel beside Python's would move bytes by a step here and there.
    """
    image = _face(300)
    expected = FaceRestorer(Restorer(bundles["bfr"]), finder).restore(image)
    (face,) = expected.faces
    matrix = invert(fit_similarity(face.points, TEMPLATE))
    pasted = mask_in_picture(matrix, 300, 300) > 0
    app = open_app()
    app.choose("bfr")
    assert app.page.is_checked("#faces")
    app.load(_write(image, tmp_path, "astronaut"))
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    near = _near(found[pasted][None], expected.image[pasted][None])
    print(f"faces: {near:.1f} dB, {(found != expected.image).mean():.2%} of the bytes differ")
    assert near >= MIN_PSNR_FACES
    np.testing.assert_array_equal(found[~pasted], image[~pasted])
    assert "1 face, 0.09 megapixels" in app.page.inner_text("#stats")
    assert app.page.is_hidden("#remark")
    # The twins: half a pixel beside its place; not restored at all.
    beside = (found.astype(int) + np.roll(found, 1, axis=1) + 1) // 2
    for spoilt in (beside.astype(np.uint8), image):
        assert _near(spoilt[pasted][None], expected.image[pasted][None]) < MIN_PSNR_FACES


def test_faces_on_a_restored_background_and_turned(
    open_app: OpenApp, bundles: dict[str, Path], finder: FaceFinder, tmp_path: Path
) -> None:
    image = np.ascontiguousarray(np.rot90(_face(400)[20:190, 80:260]))
    background = Restorer(bundles["denoising"])
    expected = FaceRestorer(Restorer(bundles["bfr"]), finder, background=background).restore(image)
    assert len(expected.faces) == 1
    app = open_app()
    app.choose("denoising", bundles["denoising"].name)
    assert not app.page.is_checked("#faces")
    app.page.check("#faces")
    app.ready()
    app.load(_write(image, tmp_path, "turned"))
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    near = _near(found, expected.image)
    print(f"faces on a background: {near:.1f} dB")
    assert near >= MIN_PSNR_FACES
    assert _near(found, background.restore(image)) < MIN_PSNR_FACES
    assert "tiles, 1 face" in app.page.inner_text("#stats")


def test_a_photo_without_a_face_says_so(
    open_app: OpenApp, finder: FaceFinder, tmp_path: Path
) -> None:
    app = open_app()
    app.choose("bfr")
    app.load(_write(_photo("cat"), tmp_path, "cat"))
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


def test_a_mask_and_transparency_say_what_is_missing(
    open_app: OpenApp, bundles: dict[str, Path], tmp_path: Path
) -> None:
    image = _photo("cat")[:70, :90]
    mask = np.zeros((70, 90), np.uint8)
    mask[20:30, 10:80] = 255
    expected = Restorer(bundles["inpainting"]).restore(image, mask=mask)
    app = open_app()
    app.choose("inpainting")
    app.load(_write(image, tmp_path, "cat"))
    app.page.set_input_files("#mask-file", _write(mask, tmp_path, "mask"))
    app.page.wait_for_selector("#paint[aria-pressed=true]")
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    assert _near(found, expected) >= MIN_PSNR
    np.testing.assert_array_equal(found[mask == 0], image[mask == 0])
    assert (found[mask > 0] != image[mask > 0]).any()

    transparent = np.dstack([image, 255 - mask])
    app.load(_write(transparent, tmp_path, "holes"))
    app.restore()
    result = app.saved(tmp_path / "holes-result.png")[1].convert("RGBA")
    assert _near(np.asarray(result)[..., :3], expected) >= MIN_PSNR
    assert np.asarray(result)[..., 3].min() == 255


def test_the_brush_paints_by_pointer_and_by_keys(open_app: OpenApp, tmp_path: Path) -> None:
    image = np.full((60, 80, 3), 128, np.uint8)
    image[::2] = 90
    app = open_app()
    app.choose("inpainting")
    app.load(_write(image, tmp_path, "plain"))
    app.page.click("#paint")
    box = app.page.locator("#viewer").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    app.page.mouse.move(x - 40, y)
    app.page.mouse.down()
    app.page.mouse.move(x + 40, y, steps=4)
    app.page.mouse.up()
    app.restore()
    by_pointer = np.asarray(app.saved(tmp_path / "a.png")[1].convert("RGB")) != image

    # Paint that comes after makes the result one no longer.
    app.page.click("#paint")
    app.page.mouse.click(x, y + 30)
    assert app.page.is_hidden("#save")
    app.page.click("#clear")
    app.page.focus("#viewer")
    for key in ("ArrowUp", "ArrowUp", " ", "ArrowRight", "ArrowRight", "ArrowRight", " "):
        app.page.keyboard.press(key)
    app.page.keyboard.press("ArrowDown")  # the brush is lifted
    app.restore()
    by_keys = np.asarray(app.saved(tmp_path / "b.png")[1].convert("RGB")) != image
    for changed in (by_pointer.any(axis=2), by_keys.any(axis=2)):
        assert 50 < changed.sum() < 0.6 * changed.size
    assert by_pointer[30, 40].any()
    assert not by_keys[45:].any()


def test_the_photos_format_and_name_are_kept(open_app: OpenApp, tmp_path: Path) -> None:
    photo = tmp_path / "Été 1.JPG"
    Image.fromarray(_photo("coffee")).save(photo, format="JPEG")
    app = open_app()
    app.load(photo)
    app.restore()
    name, result = app.saved(tmp_path / "a", lossless=False)
    assert (name, result.format) == ("Été 1.JPG", "JPEG")
    name, result = app.saved(tmp_path / "b")
    assert (name, result.format) == ("Été 1.png", "PNG")


def test_photos_are_shown_upright(open_app: OpenApp, tmp_path: Path) -> None:
    turned = Image.fromarray(_photo("coffee"))
    exif = turned.getexif()
    exif[274] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    app = open_app()
    app.load(tmp_path / "turned.jpg")
    assert "63 \u00d7 40" in app.page.inner_text("#photo-name")


def test_what_runs_and_its_threads_are_shown(open_app: OpenApp) -> None:
    app = open_app()
    assert app.page.evaluate("() => self.crossOriginIsolated")
    cores = app.page.evaluate("() => Math.min(8, navigator.hardwareConcurrency)")
    shown = app.page.inner_text("#engine")
    assert shown == f"WebAssembly, SIMD, {cores} thread{'s' if cores > 1 else ''}"
    alone = open_app(query="?engine=wasm&threads=1")
    assert alone.page.inner_text("#engine") == "WebAssembly, SIMD, 1 thread"


def test_without_a_gpu_webassembly_takes_over(open_app: OpenApp) -> None:
    app = open_app(query="")
    if app.page.evaluate("async () => !navigator.gpu || !(await navigator.gpu.requestAdapter())"):
        assert app.page.inner_text("#engine").startswith("WebAssembly")
        app.page.click("summary")
        app.page.select_option("#choice", "webgpu")
        assert "gives the page no GPU; fix: choose another engine" in app.message()
        app.page.select_option("#choice", "wasm")
        app.ready()
        assert app.page.is_hidden("#message")
    else:
        assert app.page.inner_text("#engine") in ("WebGPU", "WebAssembly, SIMD, 2 threads")


def test_restoring_is_cancelled(open_app: OpenApp, tmp_path: Path) -> None:
    large = np.tile(_photo("cat"), (5, 5, 1))
    app = open_app()
    app.load(_write(large, tmp_path, "large"))
    app.page.click("#restore")
    app.page.wait_for_selector("#progress-text:has-text('tiles')", timeout=MINUTE)
    assert app.page.is_disabled("#pick")
    app.page.keyboard.press("Enter")  # the focus is on the button that cancels
    app.page.wait_for_selector("#stats:has-text('Cancelled.')", timeout=MINUTE)
    app.ready()
    assert app.page.is_hidden("#save")
    assert app.page.is_hidden("#cancel")
    app.load(_write(_photo("coffee"), tmp_path, "coffee"))
    app.restore()


@pytest.mark.parametrize("content", [b"no image", b"", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_broken_file_is_one_line(content: bytes, open_app: OpenApp, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(content)
    app = open_app()
    app.page.set_input_files("#file", broken)
    message = app.message()
    assert message.startswith("broken.png is not an image that this browser can read; expected")
    assert "fix:" in message
    assert "\n" not in message
    assert app.page.is_disabled("#restore")
    app.load(_write(_photo("coffee"), tmp_path, "coffee"))
    assert app.page.is_hidden("#message")
    assert app.page.is_enabled("#restore")


def test_a_mask_of_another_size_and_no_face_are_one_line(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app()
    app.choose("inpainting")
    app.load(_write(_photo("coffee"), tmp_path, "coffee"))
    app.page.set_input_files("#mask-file", _write(np.zeros((3, 4), np.uint8), tmp_path, "mask"))
    assert app.message() == (
        "the mask has another size than the photo; got 4 x 3; expected 40 x 63"
    )


def test_an_altered_model_is_refused(
    browser: Any, page_folder: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(bundles["denoising"], tmp_path / "bundle")
    with Serving(page_folder, [folder]) as server:
        content = bytearray((folder / "model.onnx").read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "model.onnx").write_bytes(content)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/?engine=wasm")
        page.wait_for_selector("#message:visible", timeout=MINUTE)
        assert "model.onnx of denoising-nano-onnx-fp32" in page.inner_text("#message")
        assert "was altered after export; fix:" in page.inner_text("#message")
        assert page.inner_text("#engine") == "Not running"
        page.close()


def test_it_works_without_the_server(
    browser: Any, page_folder: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    """The server is stopped, not only said to be: a reload has nothing but what was kept."""
    context = browser.new_context(accept_downloads=True)
    served = [bundles[task] for task in ("denoising", "bsr", "bfr")]
    with Serving(page_folder, served) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        app = App(context.new_page(), address)
        app.page.wait_for_selector("#offline:visible", timeout=MINUTE)
    with pytest.raises(sync_api.Error, match="REFUSED"):
        browser.new_page().goto(address)  # another user has nothing
    app.page.reload()
    app.ready()
    app.choose("bfr")  # with what finds faces
    app.choose("bsr")
    image = _photo("coffee")[:30, :40]
    app.load(_write(image, tmp_path, "coffee"))
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    assert _near(found, Restorer(bundles["bsr"]).restore(image)) >= MIN_PSNR
    # Chromium itself writes of the requests that found no server; the page has no errors.
    assert [line for line in app.problems if "net::ERR_CONNECTION_REFUSED" not in line] == []
    context.close()


def test_drop_paste_and_camera(open_app: OpenApp, tmp_path: Path) -> None:
    photo = _write(_photo("coffee"), tmp_path, "dropped")
    encoded = base64.b64encode(photo.read_bytes()).decode()
    app = open_app()
    for event, name in (("drop", "dropped.png"), ("paste", "pasted.png")):
        app.page.evaluate(
            """([event, name, encoded]) => {
              const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
              const data = new DataTransfer();
              data.items.add(new File([bytes], name, { type: "image/png" }));
              const options = { bubbles: true, dataTransfer: data, clipboardData: data };
              const kind = event === "drop" ? DragEvent : ClipboardEvent;
              document.body.dispatchEvent(new kind(event, options));
            }""",
            [event, name, encoded],
        )
        app.page.wait_for_selector(f"#photo-name:has-text('{name}, 40 \u00d7 63')")
    app.page.click("#camera")
    app.page.click("#shoot")
    app.page.wait_for_selector("#photo-name:has-text('camera-')")
    assert app.page.is_hidden("#camera-dialog")
    app.page.click("#camera")
    app.page.keyboard.press("Escape")
    app.page.wait_for_selector("#camera-dialog", state="hidden")
    # Closed as soon as it is there, maybe before its first picture: it can be opened again.
    app.page.click("#camera")
    app.page.wait_for_selector("#camera-dialog")
    app.page.evaluate("() => document.getElementById('camera-dialog').close()")
    app.page.wait_for_selector("#camera-dialog", state="hidden")
    app.page.click("#camera")
    app.page.click("#shoot")
    app.page.wait_for_selector("#camera-dialog", state="hidden")


def test_keys_do_it_all(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app()
    app.load(_write(_photo("coffee"), tmp_path, "coffee"))
    press = app.page.keyboard.press
    app.page.focus("#pick")
    for _ in range(30):
        press("Tab")
        if app.page.evaluate("() => document.activeElement.id") == "restore":
            break
    press("Enter")
    app.page.wait_for_selector("#save:visible", timeout=MINUTE)
    assert app.page.evaluate("() => document.activeElement.id") == "save"
    app.page.focus("#split")
    press("Home")
    assert app.page.get_attribute("#split", "aria-valuetext") == "0 % before"
    press("End")
    assert app.page.get_attribute("#split", "aria-valuetext") == "100 % before"
    app.page.focus("#viewer")
    press("1")
    assert app.page.inner_text("#zoom-level") == "100 %"
    press("+")
    assert app.page.inner_text("#zoom-level") == "125 %"
    press("-")
    press("0")
    assert app.page.inner_text("#zoom-level") != "125 %"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_violations(
    width: int, scheme: str, open_app: OpenApp, tmp_path: Path
) -> None:
    axe = WEB / "node_modules" / "axe-core" / "axe.min.js"
    # The page's own policy would keep axe out.
    app = open_app(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True)
    app.page.add_script_tag(path=axe)

    def check() -> list[str]:
        found = app.page.evaluate("() => axe.run()")
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]]

    assert check() == []
    app.choose("bfr")
    assert check() == []
    app.choose("inpainting")
    app.load(_write(_photo("coffee"), tmp_path, "coffee"))
    app.page.click("#paint")
    assert check() == []
    app.restore()
    app.page.click("summary")
    assert check() == []
    app.page.set_input_files("#mask-file", _write(np.zeros((3, 4), np.uint8), tmp_path, "mask"))
    app.message()
    assert check() == []
    # The twin: a picture that nothing describes.
    app.page.evaluate("() => document.querySelector('.brand img').removeAttribute('alt')")
    assert [line.split(":")[0] for line in check()] == ["image-alt"]
    assert app.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_the_modules_unit_tests_pass(page_folder: Path) -> None:
    subprocess.run(["make", "--no-print-directory", "test-page"], cwd=ROOT, check=True)
