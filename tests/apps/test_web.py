"""The browser app in Chromium: it gives what Python's runtime gives, offline, to everybody."""

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elir_edge.runtime import Restorer
from tests.apps.web_app import (
    MINUTE,
    NEEDS,
    ROOT,
    SIZE,
    WEB,
    App,
    OpenApp,
    Serving,
    export_bundle,
    nearness,
    noisy_photo,
    write_png,
)

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `dev`")

MIN_PSNR = 60.0
"""Of the page's bytes to Python's: a byte in some hundred may round to its neighbour."""
MIN_PSNR_INT8 = 35.0
"""Of an int8 bundle's bytes to those of fp32: the export's gate."""

pytestmark = NEEDS


@pytest.fixture(scope="module")
def int8_bundle(quick_search: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small bundle of `denoising` in int8."""
    out = tmp_path_factory.mktemp("int8")
    # A search of seconds on four crops: whether it keeps the gate is asked below.
    more: dict[str, Any] = {"precision": "int8", "crops": 4, "enforce_gates": False}
    return export_bundle(out, "denoising", size=SIZE, **more)


@pytest.fixture(scope="module")
def address(page_folder: Path, bundles: dict[str, Path], int8_bundle: Path) -> Iterator[str]:
    """Return the address of a running server."""
    with Serving(page_folder, [*bundles.values(), int8_bundle]) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize("task", ["denoising", "bsr"])
@pytest.mark.parametrize("name", ["cat", "camera", "coffee"])
def test_the_page_gives_what_python_gives(
    name: str, task: str, open_app: OpenApp, bundles: dict[str, Path], tmp_path: Path
) -> None:
    image = noisy_photo(name)
    if task == "bsr":
        image = np.ascontiguousarray(image[: 2 * len(image) // 5, : 3 * image.shape[1] // 5])
    app = open_app()
    app.choose(task, bundles[task].name)
    app.load(write_png(image, tmp_path, name))
    app.restore()
    saved_as, result = app.saved(tmp_path / "result.png")
    assert saved_as == f"{name}.png"
    found = np.asarray(result.convert("RGB"))
    expected = Restorer(bundles[task]).restore(image)
    near = nearness(found, expected)
    print(f"{task} {name} {image.shape}: {near:.1f} dB")
    assert near >= MIN_PSNR
    # The twins: another photo's pixels in one tile; a shift by a pixel.
    spoilt = found.copy()
    spoilt[:16, :16] = 255 - spoilt[:16, :16]
    assert nearness(spoilt, expected) < MIN_PSNR
    assert nearness(np.roll(found, 1, axis=1), expected) < MIN_PSNR
    assert "megapixels a second" in app.page.inner_text("#stats")


def test_int8_is_within_its_gate(
    open_app: OpenApp, bundles: dict[str, Path], int8_bundle: Path, tmp_path: Path
) -> None:
    image = noisy_photo("cat")
    plain = Restorer(bundles["denoising"]).restore(image)
    app = open_app()
    app.choose("denoising", int8_bundle.name)
    app.load(write_png(image, tmp_path, "cat"))
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    to_fp32 = nearness(found, plain)
    to_int8 = nearness(found, Restorer(int8_bundle).restore(image))
    print(f"int8: {to_fp32:.1f} dB to fp32, {to_int8:.1f} dB to int8 in Python")
    assert to_fp32 >= MIN_PSNR_INT8
    assert to_int8 >= MIN_PSNR_INT8
    assert nearness(np.roll(found, 1, axis=1), plain) < MIN_PSNR_INT8


def test_a_mask_and_transparency_say_what_is_missing(
    open_app: OpenApp, bundles: dict[str, Path], tmp_path: Path
) -> None:
    image = noisy_photo("cat")[:70, :90]
    mask = np.zeros((70, 90), np.uint8)
    mask[20:30, 10:80] = 255
    expected = Restorer(bundles["inpainting"]).restore(image, mask=mask)
    app = open_app()
    app.choose("inpainting")
    app.load(write_png(image, tmp_path, "cat"))
    app.page.set_input_files("#mask-file", write_png(mask, tmp_path, "mask"))
    app.page.wait_for_selector("#paint[aria-pressed=true]")
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    assert nearness(found, expected) >= MIN_PSNR
    np.testing.assert_array_equal(found[mask == 0], image[mask == 0])
    assert (found[mask > 0] != image[mask > 0]).any()

    transparent = np.dstack([image, 255 - mask])
    app.load(write_png(transparent, tmp_path, "holes"))
    app.restore()
    result = app.saved(tmp_path / "holes-result.png")[1].convert("RGBA")
    assert nearness(np.asarray(result)[..., :3], expected) >= MIN_PSNR
    assert np.asarray(result)[..., 3].min() == 255


def test_the_brush_paints_by_pointer_and_by_keys(open_app: OpenApp, tmp_path: Path) -> None:
    image = np.full((60, 80, 3), 128, np.uint8)
    image[::2] = 90
    app = open_app()
    app.choose("inpainting")
    app.load(write_png(image, tmp_path, "plain"))
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
    Image.fromarray(noisy_photo("coffee")).save(photo, format="JPEG")
    app = open_app()
    app.load(photo)
    app.restore()
    name, result = app.saved(tmp_path / "a", lossless=False)
    assert (name, result.format) == ("Été 1.JPG", "JPEG")
    name, result = app.saved(tmp_path / "b")
    assert (name, result.format) == ("Été 1.png", "PNG")


def test_photos_are_shown_upright(open_app: OpenApp, tmp_path: Path) -> None:
    turned = Image.fromarray(noisy_photo("coffee"))
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
    large = np.tile(noisy_photo("cat"), (5, 5, 1))
    app = open_app()
    app.load(write_png(large, tmp_path, "large"))
    app.page.click("#restore")
    app.page.wait_for_selector("#progress-text:has-text('tiles')", timeout=MINUTE)
    assert app.page.is_disabled("#pick")
    app.page.keyboard.press("Enter")  # the focus is on the button that cancels
    app.page.wait_for_selector("#stats:has-text('Cancelled.')", timeout=MINUTE)
    app.ready()
    assert app.page.is_hidden("#save")
    assert app.page.is_hidden("#cancel")
    app.load(write_png(noisy_photo("coffee"), tmp_path, "coffee"))
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
    app.load(write_png(noisy_photo("coffee"), tmp_path, "coffee"))
    assert app.page.is_hidden("#message")
    assert app.page.is_enabled("#restore")


def test_a_mask_of_another_size_and_no_face_are_one_line(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app()
    app.choose("inpainting")
    app.load(write_png(noisy_photo("coffee"), tmp_path, "coffee"))
    app.page.set_input_files("#mask-file", write_png(np.zeros((3, 4), np.uint8), tmp_path, "mask"))
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
    image = noisy_photo("coffee")[:30, :40]
    app.load(write_png(image, tmp_path, "coffee"))
    app.restore()
    found = np.asarray(app.saved(tmp_path / "result.png")[1].convert("RGB"))
    assert nearness(found, Restorer(bundles["bsr"]).restore(image)) >= MIN_PSNR
    # Chromium itself writes of the requests that found no server; the page has no errors.
    assert [line for line in app.problems if "net::ERR_CONNECTION_REFUSED" not in line] == []
    context.close()


def test_drop_paste_and_camera(open_app: OpenApp, tmp_path: Path) -> None:
    photo = write_png(noisy_photo("coffee"), tmp_path, "dropped")
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
    app.page.wait_for_selector("#camera-dialog")
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
    app.load(write_png(noisy_photo("coffee"), tmp_path, "coffee"))
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
    app.load(write_png(noisy_photo("coffee"), tmp_path, "coffee"))
    app.page.click("#paint")
    assert check() == []
    app.restore()
    app.page.click("summary")
    assert check() == []
    app.page.set_input_files("#mask-file", write_png(np.zeros((3, 4), np.uint8), tmp_path, "mask"))
    app.message()
    assert check() == []
    # The twin: a picture that nothing describes.
    app.page.evaluate("() => document.querySelector('.brand img').removeAttribute('alt')")
    assert [line.split(":")[0] for line in check()] == ["image-alt"]
    assert app.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_the_modules_unit_tests_pass(page_folder: Path) -> None:
    subprocess.run(["make", "--no-print-directory", "test-page"], cwd=ROOT, check=True)
