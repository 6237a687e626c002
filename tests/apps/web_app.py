"""What the tests of the browser app share: the page, its bundles, Chromium, and a user."""

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
from elir_edge.metrics import psnr
from elir_edge.runtime import Bundle

ROOT = Path(__file__).parents[2]
WEB = ROOT / "apps" / "web"
SIZE = 64
FACE_SIZE = 128
"""Of the model of faces: a face is reduced to it by four."""
MINUTE = 60_000
"""In milliseconds, as Playwright counts."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

NEEDS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm"),
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
]

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="session")
def page_folder() -> Path:
    """Return the page as `make demo` builds it."""
    subprocess.run(["make", "--no-print-directory", "page"], cwd=ROOT, check=True)
    return WEB / "dist"


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return small bundles of the shipped weights, of four tasks."""
    out = tmp_path_factory.mktemp("dist")
    sizes = {"denoising": SIZE, "bsr": SIZE, "inpainting": SIZE, "bfr": FACE_SIZE}
    return {task: export_bundle(out, task, size=size) for task, size in sizes.items()}


def export_bundle(out: Path, task: str, **more: Any) -> Path:
    """Return the folder of a bundle, which is exported to `out`."""
    from export.plan import run_export
    from export.request import Request

    return run_export(Request(task=task, target="onnx", out=out, **more)).folder


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
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `dev`")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM,
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


def noisy_photo(name: str) -> Bytes:
    """Return scikit-image's photo with noise: colour or gray, as large as the tile or not."""
    from skimage import data

    clean = {
        "cat": lambda: data.chelsea()[60:190, 100:251],  # larger than a tile, and no multiple
        "camera": lambda: data.camera()[100 : 100 + SIZE, 200 : 200 + SIZE],  # gray, one tile
        "coffee": lambda: data.coffee()[100:163, 200:240],  # smaller than a tile
    }[name]()
    noise = np.random.default_rng(0).normal(0, 25, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def write_png(image: Bytes, folder: Path, name: str) -> Path:
    path = folder / f"{name}.png"
    Image.fromarray(image).save(path)
    return path


def nearness(found: Bytes, expected: Bytes) -> float:
    """Return the PSNR in dB of images of one size; gray ones have one channel or three equal."""
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert found.shape == expected.shape
    return psnr(found.astype(np.float32) / 255, expected.astype(np.float32) / 255)
