"""Restore what a Raspberry Pi AI Camera sees, inside its sensor, and save or show the frames.

The network of an `imx500` bundle runs on the IMX500; this program uploads it through picamera2,
takes the result out of each frame's metadata, and writes pictures or serves a page. Never run on a
camera: the tests play the tensors that the bundle's emulation computes.
"""

import importlib
import io
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from elir_edge.console import console, counting_progress, run_app, warn
from elir_edge.errors import BackendError, BundleError, UsageError
from elir_edge.files import cache_folder, replacing_folder
from elir_edge.runtime.bundle import Bundle
from elir_edge.runtime.images import Picture, write_picture

_PACKAGE = "packerOut.zip"
_NETWORK = "network.rpk"
_UPLOADING = 2
"""The stage of picamera2's progress in which the network travels to the sensor."""
_EPILOG = "Example: python restore_camera.py --bundle denoising-sensor-imx500-int8 --save frames"

Pixels = NDArray[np.uint8]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, kw_only=True)
class OutputTensor:
    """The result as the converter describes it (`description.json`).

    Attributes:
        dimensions: sizes, channels first: (3, height, width).
        scale: of one step of the 8-bit values.
    """

    dimensions: tuple[int, ...]
    scale: float

    @classmethod
    def of(cls, bundle: Bundle) -> "OutputTensor":
        """Read a bundle's description.

        Raises:
            BundleError: it lacks one, or describes something else than one image.
        """
        path = bundle.folder / "description.json"
        try:
            (output,) = json.loads(path.read_text(encoding="utf-8"))["outputs"]
            found = cls(
                dimensions=tuple(int(size) for size in output["dimensions"]),
                scale=float(output["scale"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{path} cannot be read ({error!r})", fix="export again with TARGET=imx500"
            ) from error
        if len(found.dimensions) != 3 or found.dimensions[0] != 3 or not found.scale > 0:
            raise BundleError(
                f"{path} describes no image",
                got=f"dimensions {list(found.dimensions)}, scale {found.scale:g}",
                expected="(3, height, width) and a step above 0",
                fix="export again with TARGET=imx500",
            )
        return found

    def pixels(self, values: NDArray[Any], *, transposed: bool = False) -> Pixels:
        """Return a frame's result as (H, W, 3), RGB.

        libcamera sorts the values by the description's dimensions, the first one fastest, and
        picamera2 gives them that shape (`get_outputs`: Fortran's order): channels come first.

        Args:
            values: of `get_outputs`, the description's dimensions.
            transposed: swap rows and columns, for versions that hand them out the other way.

        Raises:
            BundleError: another shape, or values that are not finite.
        """
        if values.shape != self.dimensions or not np.isfinite(values).all():
            raise BundleError(
                "the sensor's result is not what the bundle describes",
                got=f"shape {values.shape}, finite: {bool(np.isfinite(values).all())}",
                expected=f"shape {self.dimensions} of finite values",
                fix="package and upload this bundle's network again",
            )
        image = values.transpose((2, 1, 0) if transposed else (1, 2, 0))
        return np.clip(np.rint(image / self.scale), 0, 255).astype(np.uint8)


def open_bundle(folder: Path) -> Bundle:
    """Open an `imx500` bundle and check its files.

    Raises:
        UsageError: a bundle for something else.
        BundleError: no bundle, or an altered one.
    """
    bundle = Bundle.open(folder)
    if bundle.manifest.target.name != "imx500":
        raise UsageError(
            f"{folder} is for {bundle.manifest.target.name}",
            expected="a bundle made by `make export TASK=... TARGET=imx500`",
        )
    return bundle


def packaged(bundle: Bundle) -> Path:
    """Return the file that the sensor loads, made by `imx500-package` on first use.

    It is kept in this program's cache under the hash of `packerOut.zip`.

    Raises:
        BundleError: the bundle lacks `packerOut.zip`.
        BackendError: the tool is missing or fails.
    """
    entry = next((each for each in bundle.manifest.files if each.path == _PACKAGE), None)
    if entry is None:
        raise BundleError(f"{bundle.folder} lacks {_PACKAGE}", fix="export with TARGET=imx500")
    folder = cache_folder("picamera") / entry.sha256
    network = folder / _NETWORK
    if network.is_file():
        return network
    tool = shutil.which("imx500-package")
    if tool is None:
        raise BackendError(
            "imx500-package is not installed", fix="on a Raspberry Pi: sudo apt install imx500-all"
        )
    console.print(f"packaging {_PACKAGE} for the sensor ...", markup=False)
    with replacing_folder(folder) as temporary:
        done = subprocess.run(
            [tool, "-i", str(bundle.path_of(entry)), "-o", str(temporary)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not (temporary / _NETWORK).is_file():
            raise BackendError(
                f"imx500-package failed with code {done.returncode}",
                got=(done.stderr or done.stdout).strip()[-300:] or f"no {_NETWORK}",
                fix="sudo apt update && sudo apt full-upgrade, then try again",
            )
    return network


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One restored frame.

    Attributes:
        restored: (H, W, 3), what the sensor computed.
        milliseconds: the network's time on the sensor, by the sensor; None: not told.
    """

    restored: Pixels
    milliseconds: float | None


def frames(
    network: Path, output: OutputTensor, *, rate: float, patience: float, transposed: bool
) -> Generator[Frame, None, None]:
    """Start the camera and yield results until the caller stops; the camera is then closed.

    Args:
        network: made by `packaged`.
        output: the result's description.
        rate: frames a second that are asked for.
        patience: seconds without any result after which it gives up.
        transposed: swap rows and columns.

    Raises:
        BackendError: picamera2 or the camera is missing, or no result comes.
    """
    try:
        camera_module = importlib.import_module("picamera2")
        devices = importlib.import_module("picamera2.devices")
    except ImportError as error:
        raise BackendError(
            f"picamera2 cannot be imported ({error})",
            fix="on a Raspberry Pi: sudo apt install python3-picamera2 imx500-all, and a Python "
            "that sees the system's packages (python3 -m venv --system-site-packages)",
        ) from error
    try:
        imx500 = devices.IMX500(str(network))  # before Picamera2 is made
        camera = camera_module.Picamera2(imx500.camera_num)
        settings = camera.create_preview_configuration(controls={"FrameRate": rate})
        camera.start(settings, show_preview=False)
    except (OSError, RuntimeError, IndexError, StopIteration) as error:
        raise BackendError(
            f"the camera cannot be started ({error})",
            fix="check the cable, `rpicam-hello --list-cameras`, and that no other program uses it",
        ) from error
    try:
        imx500.set_auto_aspect_ratio()  # a square from the middle of the picture
        started = time.monotonic()
        with _Upload(imx500) as uploading:
            while True:
                metadata = camera.capture_metadata()
                outputs = imx500.get_outputs(metadata)
                if outputs:
                    uploading.close()
                    times = imx500.get_kpi_info(metadata)
                    yield Frame(
                        restored=output.pixels(outputs[0], transposed=transposed),
                        milliseconds=times[0] if times else None,
                    )
                    started = time.monotonic()
                elif time.monotonic() - started > patience:
                    raise BackendError(
                        f"the sensor gave no result for {patience:g} s",
                        fix="wait longer (--patience), or unplug the Pi and try again",
                    )
                else:
                    uploading.update()
    finally:
        camera.close()


class _Upload:
    """Progress of the network's upload, which takes minutes the first time."""

    def __init__(self, imx500: Any) -> None:
        self._imx500 = imx500
        self._progress = counting_progress()
        self._task = self._progress.add_task("bytes to the sensor", total=None)
        self._open = False

    def __enter__(self) -> "_Upload":
        self._progress.start()
        self._open = True
        return self

    def update(self) -> None:
        """Show how far it is."""
        done, total = self._imx500.get_fw_upload_progress(_UPLOADING)
        self._progress.update(self._task, completed=done, total=total or None)

    def close(self) -> None:
        """Remove the bar."""
        if self._open:
            self._progress.stop()
            self._open = False

    def __exit__(self, *_: object) -> None:
        self.close()


_PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>elir-edge</title>
<style>body{margin:0;background:#111;color:#ddd;font:16px sans-serif;text-align:center}
img{width:min(100vw,90vh);image-rendering:pixelated}</style>
<img src="/stream" alt="What the sensor restores"><p>Restored inside the image sensor</p></html>"""


class Page:
    """A page with the newest frame, for a browser on this machine or in this network."""

    def __init__(self, host: str, port: int) -> None:
        self._changed = threading.Condition()
        self._jpeg = b""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/":
                    self._answer("text/html", _PAGE)
                elif self.path == "/stream":
                    page.stream(self)
                else:
                    self.send_error(404)

            def _answer(self, kind: str, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: requests are no news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise UsageError(
                f"the page cannot be served on {host}:{port} ({error.strerror or error})",
                fix="pass another --serve",
            ) from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def show(self, pixels: Pixels) -> None:
        """Make this the newest frame."""
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
        with self._changed:
            self._jpeg = encoded.getvalue()
            self._changed.notify_all()

    def stream(self, request: BaseHTTPRequestHandler) -> None:
        """Send each new frame until the browser leaves."""
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        sent = b""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(partial(self._is_newer_than, sent), timeout=60)
                    sent = self._jpeg
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(sent)}\r\n\r\n"
                request.wfile.write(head.encode() + sent + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return

    def _is_newer_than(self, sent: bytes) -> bool:
        return self._jpeg is not sent

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def saver(folder: Path) -> Callable[[Pixels], None]:
    """Return what writes frames to `frame-000001.png` and so on, after those that are there.

    Raises:
        UsageError: the folder's name is a file's.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", expected="a folder for the frames")
    folder.mkdir(parents=True, exist_ok=True)
    taken = [path.stem.removeprefix("frame-") for path in folder.glob("frame-*.png")]
    last = max((int(number) for number in taken if number.isdecimal()), default=0)

    def save(pixels: Pixels) -> None:
        nonlocal last
        last += 1
        write_picture(folder / f"frame-{last:06d}.png", Picture(pixels=pixels))

    return save


@app.command(epilog=_EPILOG)
def main(
    bundle: Annotated[Path, typer.Option(help="A folder made by `make export TARGET=imx500`.")],
    save: Annotated[Path | None, typer.Option(help="Write each result into this folder.")] = None,
    serve: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Show results on a page at this port.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Who may see the page: 127.0.0.1 this Pi alone, 0.0.0.0 anyone.")
    ] = "127.0.0.1",
    count: Annotated[int, typer.Option(min=0, help="Stop after so many results; 0: never.")] = 0,
    rate: Annotated[float, typer.Option(min=0.1, max=60, help="Frames a second.")] = 10.0,
    patience: Annotated[
        float, typer.Option(min=0.1, help="Seconds without any result before giving up.")
    ] = 600.0,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="Swap rows and columns, if frames lie on a side.")
    ] = False,
) -> None:
    """Restore what the camera sees, inside its sensor. Ctrl-C ends it."""
    if save is None and serve is None:
        raise UsageError("results would go nowhere", expected="--save FOLDER or --serve PORT")
    opened = open_bundle(bundle)
    output = OutputTensor.of(opened)
    processing = opened.manifest.processing
    if processing.upscale > 1:
        warn(
            f"{opened.manifest.identity.task} learned from images enlarged {processing.upscale} "
            "times, which the sensor does not do: the camera's own picture is not what it expects"
        )
    network = packaged(opened)
    sinks: list[Callable[[Pixels], None]] = [] if save is None else [saver(save)]
    page = None if serve is None else Page(host, serve)
    if page is not None:
        sinks.append(page.show)
        print(f"results on http://{host}:{page.port}/", flush=True)
    done, spent = 0, list[float]()
    results = frames(network, output, rate=rate, patience=patience, transposed=transposed)
    try:
        for frame in results:
            for sink in sinks:
                sink(frame.restored)
            done += 1
            spent += [] if frame.milliseconds is None else [frame.milliseconds]
            if done == count:
                break
    finally:
        results.close()
        if page is not None:
            page.close()
        if done:
            told = f", {np.median(spent):.1f} ms each on the sensor" if spent else ""
            print(f"{done} results{told}" + ("" if save is None else f", in {save}"))


if __name__ == "__main__":
    run_app(app)
