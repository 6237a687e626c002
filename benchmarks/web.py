"""Milliseconds per tile in the browser app: each bundle, with threads and without.

Headless Chromium on this machine; the bundles and numbers of threads take turns, so that whatever
else the machine does falls on all alike. The time is the app's own: a tile from bytes to bytes.

    python benchmarks/web.py dist/denoising-nano-onnx-fp32 dist/denoising-nano-onnx-int8

Needs `make page`, the extra `dev` (Playwright) and Chromium (apt-get install chromium).
"""

import io
import re
import shutil
import threading
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.progress import track
from rich.table import Table

from benchmarks.options import writable
from elir_edge.cli.demo import Server, built_page, site_of
from elir_edge.console import console, run_app
from elir_edge.errors import UsageError
from elir_edge.files import write_json
from elir_edge.machine import processor_name
from elir_edge.runtime import Bundle

_PATIENCE = 300_000
"""Milliseconds that a page may take."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python benchmarks/web.py dist/denoising-nano-onnx-fp32")
def measure(
    bundles: Annotated[list[Path], typer.Argument(help="Folders made by `make export`.")],
    rounds: Annotated[int, typer.Option(min=1, help="Photos of one tile for each.")] = 10,
    out: Annotated[
        Path | None, typer.Option(callback=writable, help="Write the times as JSON, too.")
    ] = None,
) -> None:
    """Measure the browser app's time per tile."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise UsageError("Chromium is not found", fix="apt-get install chromium")
    opened = [Bundle.open(folder) for folder in bundles]
    site = site_of(built_page(), opened)
    times: dict[tuple[str, str], list[float]] = {}
    with Server(0, site) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        version = browser.version
        pages = {
            (bundle.folder.resolve().name, threads): _open(
                browser, f"http://127.0.0.1:{server.server_port}/", bundle, threads
            )
            for bundle in opened
            for threads in ("1", "")
        }
        shown = {key: str(page.inner_text("#engine")) for key, page in pages.items()}
        for done in track(range(rounds + 1), description="rounds", console=console):
            for key, page in pages.items():
                taken = _restore(page)
                if done > 0:  # the first one warms up
                    times.setdefault(key, []).append(taken)
        browser.close()
        server.shutdown()
    _report(times, shown, version, out)


def _open(browser: Any, address: str, bundle: Bundle, threads: str) -> Any:
    """Return a page that has loaded a bundle and a photo of one tile."""
    page = browser.new_context().new_page()
    page.goto(f"{address}?engine=wasm&threads={threads}")
    page.wait_for_selector("body[data-state=ready]", timeout=_PATIENCE)
    task, name = bundle.manifest.identity.task, bundle.manifest.identity.name
    page.check(f"input[value={task}]")
    if page.is_visible("#model"):
        page.select_option("#model", name)
    page.wait_for_selector("body[data-state=ready]", timeout=_PATIENCE)
    side = bundle.manifest.inputs[0].shape[2] // bundle.manifest.processing.upscale
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format="PNG")
    photo = {"name": "tile.png", "mimeType": "image/png", "buffer": file.getvalue()}
    page.set_input_files("#file", photo)
    return page


def _restore(page: Any) -> float:
    """Return the milliseconds that the app took for its photo."""
    page.bring_to_front()
    page.click("#restore")
    stats = page.locator("#stats", has_text="Restored in")
    stats.wait_for(timeout=_PATIENCE)
    found = re.match(r"Restored in ([\d.]+) ms: 1 tile,", stats.inner_text())
    assert found, stats.inner_text()
    page.wait_for_selector("body[data-state=ready]")
    return float(found[1])


def _report(
    times: dict[tuple[str, str], list[float]],
    shown: dict[tuple[str, str], str],
    version: str,
    out: Path | None,
) -> None:
    table = Table("bundle", "engine", "median, ms", "least, ms")
    rows = []
    for key, values in times.items():
        table.add_row(key[0], shown[key], f"{median(values):.0f}", f"{min(values):.0f}")
        rows.append({"bundle": key[0], "engine": shown[key], "milliseconds": values})
    console.print(f"{processor_name()}, Chromium {version}")
    console.print(table)
    if out is not None:
        facts = {"processor": processor_name(), "chromium": version}
        write_json(out, {**facts, "rows": rows})


if __name__ == "__main__":
    run_app(app)
