"""Downloads from a local server: whole, cut, continued, changed, missing."""

import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from elir_edge.checkpoints.fetch import fetch
from elir_edge.errors import FetchError, UsageError

NAME = "elir_bfr.pth"


def _archive(seed: int) -> bytes:
    """Return a zip archive, as torch writes them, of random bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        content = np.random.default_rng(seed).bytes(700_000)
        archive.writestr(zipfile.ZipInfo("elir_bfr/data.pkl"), content)
    return buffer.getvalue()


CONTENT, OTHER = _archive(0), _archive(1)
"""More than two of the blocks that are read at a time."""


@dataclass
class Release:
    """What the server offers, and what it was asked.

    Attributes:
        content: the file's bytes; None: no such file.
        etag: the file's version; None: the server tells none.
        cut_after: close the connection after so many bytes of a body.
        ranges: the `Range` header of each request, None for the whole file.
        sent: the status and the number of body bytes of each answer.
        url: of the server.
    """

    content: bytes | None = CONTENT
    etag: str | None = '"one"'
    cut_after: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    url: str = ""

    def body_for(self, wanted: str | None, condition: str | None) -> tuple[int, bytes]:
        """Return status and body, as RFC 9110 has it for `Range` and `If-Range`."""
        if self.content is None:
            return 404, b"no such file"
        if wanted is None or condition != self.etag:
            return 200, self.content
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.content):
            return 416, b""
        return 206, self.content[start:]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names does not know this machine's own ports."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def release() -> Iterator[Release]:
    """Serve a release on a free local port."""
    offered = Release()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            wanted = self.headers.get("Range")
            if not self.path.endswith(f"/{NAME}"):
                self.send_error(404)
                return
            status, body = offered.body_for(wanted, self.headers.get("If-Range"))
            offered.ranges.append(wanted)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if offered.etag is not None:
                self.send_header("ETag", offered.etag)
            self.end_headers()
            part = body if offered.cut_after is None else body[: offered.cut_after]
            offered.sent.append((status, len(part)))
            self.wfile.write(part)

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    offered.url = f"http://127.0.0.1:{server.server_address[1]}/v1.0"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield offered
    server.shutdown()
    thread.join()
    server.server_close()


def _ignore(here: int, total: int | None) -> None:
    pass


def _fetch(release: Release, folder: Path) -> Path:
    return fetch("bfr", folder, base_url=release.url, progress=_ignore)


def _cut(release: Release, folder: Path, after: int = 300_000) -> None:
    release.cut_after = after
    with pytest.raises(FetchError):
        _fetch(release, folder)
    release.cut_after = None


def test_a_whole_download(release: Release, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    folder = tmp_path / "new" / "folder"
    path = fetch(
        "bfr",
        folder,
        base_url=f"{release.url}/",
        progress=lambda here, total: seen.append((here, total)),
    )
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    digest = hashlib.sha256(CONTENT).hexdigest()
    # The record has the form that `sha256sum --check` reads.
    assert (folder / f"{NAME}.sha256").read_text() == f"{digest}  {NAME}\n"
    assert {p.name for p in folder.iterdir()} == {NAME, f"{NAME}.sha256"}
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_a_cut_download_is_refused_and_kept(release: Release, tmp_path: Path) -> None:
    release.cut_after = 300_000
    with pytest.raises(FetchError, match=r"run the command again") as error:
        _fetch(release, tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / NAME).exists()
    assert not (tmp_path / f"{NAME}.sha256").exists()
    part = (tmp_path / f"{NAME}.part").read_bytes()
    assert part == CONTENT[:300_000]


def test_a_cut_download_is_continued(release: Release, tmp_path: Path) -> None:
    _cut(release, tmp_path)
    assert _fetch(release, tmp_path).read_bytes() == CONTENT
    assert release.ranges == [None, "bytes=300000-"]
    assert release.sent[1] == (206, len(CONTENT) - 300_000)
    assert {p.name for p in tmp_path.iterdir()} == {NAME, f"{NAME}.sha256"}


def test_progress_of_a_continued_download_counts_what_is_here(
    release: Release, tmp_path: Path
) -> None:
    _cut(release, tmp_path)
    seen: list[tuple[int, int | None]] = []
    fetch(
        "bfr",
        tmp_path,
        base_url=release.url,
        progress=lambda here, total: seen.append((here, total)),
    )
    assert seen[0] == (300_000, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_download_cut_twice(release: Release, tmp_path: Path) -> None:
    _cut(release, tmp_path)
    _cut(release, tmp_path, after=200_000)
    assert _fetch(release, tmp_path).read_bytes() == CONTENT
    assert release.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_a_changed_file_is_fetched_anew(release: Release, tmp_path: Path) -> None:
    _cut(release, tmp_path)
    release.content, release.etag = OTHER, '"two"'
    assert _fetch(release, tmp_path).read_bytes() == OTHER
    assert release.sent[1] == (200, len(CONTENT))


def test_without_a_version_nothing_is_continued(release: Release, tmp_path: Path) -> None:
    """The rest of another file might be appended: only an ETag can tell."""
    release.etag = None
    _cut(release, tmp_path)
    release.content = OTHER
    assert _fetch(release, tmp_path).read_bytes() == OTHER
    assert release.ranges == [None, None]


def test_a_damaged_version_note_restarts(release: Release, tmp_path: Path) -> None:
    _cut(release, tmp_path)
    (tmp_path / f"{NAME}.part.etag").write_text("{")
    assert _fetch(release, tmp_path).read_bytes() == CONTENT
    assert release.ranges == [None, None]


def test_a_complete_part_is_no_dead_end(release: Release, tmp_path: Path) -> None:
    """An earlier call was stopped after the last byte, before the file got its name."""
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    (tmp_path / f"{NAME}.part.etag").write_text('"\\"one\\""')
    assert _fetch(release, tmp_path).read_bytes() == CONTENT
    assert [status for status, _ in release.sent] == [416, 200]


def test_a_file_that_is_there_is_checked_not_fetched(release: Release, tmp_path: Path) -> None:
    path = _fetch(release, tmp_path)
    assert _fetch(release, tmp_path) == path
    assert len(release.ranges) == 1
    # The twin: one changed byte is noticed, and the file is left for the user to look at.
    damaged = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    path.write_bytes(damaged)
    with pytest.raises(FetchError, match="is not the file that was downloaded"):
        _fetch(release, tmp_path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("record", ["", "0" * 64 + f"  {NAME}\n"])
def test_a_download_that_is_not_the_recorded_one(
    record: str, release: Release, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.sha256").write_text(record)
    with pytest.raises(FetchError, match=rf"{NAME} is not the file that .* records"):
        _fetch(release, tmp_path)
    assert not (tmp_path / NAME).exists()
    assert (tmp_path / f"{NAME}.sha256").read_text() == record


def test_a_recorded_file_that_was_deleted_is_fetched_again(
    release: Release, tmp_path: Path
) -> None:
    _fetch(release, tmp_path).unlink()
    assert _fetch(release, tmp_path).read_bytes() == CONTENT


def test_a_file_without_its_record(release: Release, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"from elsewhere")
    with pytest.raises(FetchError, match=r"without its record"):
        _fetch(release, tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"from elsewhere"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "nothing"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a page"),
        (b"\n <html>", "a page"),
        (b'{"message": "moved"}', "something else"),
        (CONTENT[:-100], "a part of it"),
    ],
)
def test_what_is_no_checkpoint_is_not_kept(
    content: bytes, kind: str, release: Release, tmp_path: Path
) -> None:
    release.content = content
    with pytest.raises(FetchError, match=f"gave no checkpoint; got {kind}"):
        _fetch(release, tmp_path)
    assert not list(tmp_path.iterdir())


def test_plain_pickles_are_kept(release: Release, tmp_path: Path) -> None:
    release.content = b"\x80\x02}q\x00."
    assert _fetch(release, tmp_path).read_bytes() == release.content


def test_no_such_file(release: Release, tmp_path: Path) -> None:
    release.content = None
    with pytest.raises(FetchError, match=r"answered 404 Not Found"):
        _fetch(release, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"cannot be fetched \(.*refused"):
        # Port 1 is reserved; nothing listens there.
        fetch("bfr", tmp_path, base_url="http://127.0.0.1:1", progress=_ignore)


def test_no_such_task(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown task 'deblurring'"):
        fetch("deblurring", tmp_path, progress=_ignore)


def test_no_address(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        fetch("bfr", tmp_path, base_url="somewhere", progress=_ignore)
