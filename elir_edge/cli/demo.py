"""`elir-edge demo`: serve the browser app and bundles, to this machine only."""

import http.server
import json
import shutil
import socketserver
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elir_edge.errors import UsageError
from elir_edge.tasks import TASKS

if TYPE_CHECKING:
    from elir_edge.runtime import Bundle

EPILOG = "Example: elir-edge demo --bundle dist/denoising-nano-onnx-fp32"

_HOST = "127.0.0.1"
_HOST_NAMES = (_HOST, "localhost")
_RUNTIME = "onnxruntime"
_INDEX = "/bundles/index.json"
_NETWORK_FOLDER = "/faces/"
_FACE_TASK = "bfr"
_HEADERS = {
    # Browsers allow memory shared by threads only for pages that are isolated from other sites.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
"""Fixed, unlike the system's table: browsers refuse scripts and WebAssembly of another type."""


def demo(
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder made by `make export`; may be repeated; default: the ready bundles."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: any free port.")
    ] = 8000,
    page: Annotated[
        Path | None,
        typer.Option(help="Folder of the built page; default: apps/web/dist of this checkout."),
    ] = None,
) -> None:
    """Serve the browser app, which restores photos in the browser itself."""
    from elir_edge.runtime import Bundle, ready_bundle

    shown = page or built_page()
    require_page(shown)  # before ready bundles are asked for: they are no help without a page
    folders = bundle or [ready_bundle(task) for task in TASKS]
    opened = [Bundle.open(folder) for folder in folders]
    site = site_of(shown, opened)
    with Server(port, site) as server:
        try:
            print(f"serving {', '.join(site.names)}")
            if site.without_faces and any(restores_faces(each) for each in opened):
                print(f"photos are not searched for faces: {site.without_faces}")
            print(f"http://{_HOST}:{server.server_port}/  (Ctrl-C stops)", flush=True)
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


def site_of(page: Path, bundles: "Sequence[Bundle]") -> "Site":
    """Return a site with a page, bundles and, where they are installed, the face networks.

    Raises:
        UsageError: the folder has no page, a bundle is not for ONNX Runtime, which the page uses,
            or two bundles have the same name.
    """
    from elir_edge.errors import BackendError
    from elir_edge.runtime.faces.cascade import network_files

    networks, reason = {}, ""
    try:
        networks = network_files()
    except BackendError as error:
        reason = str(error)
    served = {f"{_NETWORK_FOLDER}{path.name}": path for path in networks}
    return Site(
        files=files_of_page(page) | files_of_bundles(bundles) | served,
        names=[each.folder.resolve().name for each in bundles],
        networks=networks,
        without_faces=reason,
    )


def restores_faces(bundle: "Bundle") -> bool:
    """Return whether a bundle restores aligned faces."""
    return bundle.manifest.identity.task == _FACE_TASK


def built_page() -> Path:
    """Return the folder where `make demo` builds the page; only checkouts have it."""
    return Path(__file__).parents[2] / "apps" / "web" / "dist"


def require_page(folder: Path) -> None:
    """Require that a folder has a built page.

    Raises:
        UsageError: it has none.
    """
    if not (folder / "index.html").is_file():
        raise UsageError(
            f"no built page in {folder}",
            expected="a folder with index.html, which installed packages do not have",
            fix="in a checkout: `make demo`, or build apps/web and pass its dist with --page",
        )


def files_of_page(folder: Path) -> dict[str, Path]:
    """Return the page's files by their URL paths.

    Raises:
        UsageError: the folder has no page.
    """
    require_page(folder)
    found = {
        f"/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {**found, "/": folder / "index.html"}


def files_of_bundles(bundles: "Sequence[Bundle]") -> dict[str, Path]:
    """Return the files of bundles by their URL paths.

    Raises:
        UsageError: a bundle is not for ONNX Runtime, which the page uses, or two bundles have the
            same name.
    """
    from elir_edge.runtime.manifest import MANIFEST_NAME

    files: dict[str, Path] = {}
    for bundle in bundles:
        bundle.artifact_for(_RUNTIME)
        name = bundle.folder.resolve().name
        if f"/bundles/{name}/{MANIFEST_NAME}" in files:
            raise UsageError(
                f"two bundles are called {name}", fix="rename the folder of one, or leave one out"
            )
        listed = [entry.path for entry in bundle.manifest.files]
        for path in (MANIFEST_NAME, *listed):
            files[f"/bundles/{name}/{path}"] = bundle.path_of(path)
    return files


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything that is served.

    Attributes:
        files: files by their URL paths.
        names: names of the bundles, in the order in which the page lists them.
        networks: files of the networks that find faces, with their SHA-256; may be empty.
        without_faces: why there are no such networks; empty if there are some.
    """

    files: Mapping[str, Path]
    names: Sequence[str]
    networks: Mapping[Path, str] = field(default_factory=dict)
    without_faces: str = ""

    def index(self) -> bytes:
        """Return the list of bundles and networks in the JSON format that the page reads."""
        networks = [
            {"path": path.name, "bytes": path.stat().st_size, "sha256": digest}
            for path, digest in self.networks.items()
        ]
        faces = {"networks": networks, "reason": self.without_faces}
        return json.dumps({"bundles": list(self.names), "faces": faces}).encode()


class Server(http.server.ThreadingHTTPServer):
    """Serves a site to this machine, each request in its own thread.

    Args:
        port: port on 127.0.0.1; 0: any free port.
        site: the files to serve.

    Raises:
        UsageError: the port cannot be used.
    """

    daemon_threads = True

    def __init__(self, port: int, site: Site) -> None:
        self.site = site
        try:
            super().__init__((_HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} of {_HOST} cannot be used ({error.strerror})",
                fix="pass another --port, or --port 0",
            ) from error

    def server_bind(self) -> None:
        """Bind without looking up this machine's name in the network, unlike the base class."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of a request that failed, but not if the user left the page."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(with_content=True)

    def do_HEAD(self) -> None:
        self._send(with_content=False)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing, because a line for every file would hide the address."""

    def _send(self, *, with_content: bool) -> None:
        assert isinstance(self.server, Server)
        site = self.server.site
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        # The name of another site may resolve to this machine (DNS rebinding).
        host = urllib.parse.urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in _HOST_NAMES or (path != _INDEX and path not in site.files):
            self._begin(404, "text/plain; charset=utf-8", 10)
            if with_content:
                self.wfile.write(b"not found\n")
        elif path == _INDEX:
            content = site.index()
            self._begin(200, _TYPES[".json"], len(content))
            if with_content:
                self.wfile.write(content)
        else:
            file = site.files[path]
            kind = _TYPES.get(file.suffix, "application/octet-stream")
            with file.open("rb") as opened:
                self._begin(200, kind, file.stat().st_size)
                if with_content:
                    shutil.copyfileobj(opened, self.wfile)

    def _begin(self, status: int, kind: str, length: int) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()
