"""Download the published checkpoints from their authors' release."""

import json
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from elir_edge import __version__
from elir_edge.errors import FetchError, UsageError
from elir_edge.files import sha256_of
from elir_edge.tasks import get_task

RELEASE_URL = "https://github.com/eladc-git/ELIR/releases/download/v1.0"
_BLOCK = 1 << 18
_TIMEOUT_S = 60
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80\x02"

DownloadProgress = Callable[[int, int | None], None]


def fetch(
    task: str, folder: Path, *, base_url: str = RELEASE_URL, progress: DownloadProgress
) -> Path:
    """Download `elir_<task>.pth` into `folder` and record its SHA-256 in a file next to it.

    An interrupted download is continued if the server's file is unchanged (by its ETag). A complete
    file is not downloaded again, but checked against its record.

    Args:
        task: one of the five tasks.
        folder: folder to write to.
        base_url: address of the release.
        progress: called with the bytes received and the total, if known.

    Raises:
        FetchError: there is no connection or no such file, the download is incomplete or not a
            checkpoint, or the file does not match its record.
        UsageError: there is no such task.
    """
    name = f"elir_{get_task(task).name}.pth"
    target = folder / name
    record = folder / f"{name}.sha256"
    if target.exists():
        _check_record(target, record)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.part"
    _download(f"{base_url.rstrip('/')}/{name}", part, progress)
    _require_checkpoint(part)
    digest = sha256_of(part)
    if record.exists() and record.read_text().split()[:1] != [digest]:
        raise FetchError(
            f"{name} is not the file that {record} records",
            got=digest,
            fix=f"if the authors replaced it, delete {record} and {part}",
        )
    record.write_text(f"{digest}  {name}\n")
    os.replace(part, target)
    _etag_path(part).unlink(missing_ok=True)
    return target


def _require_checkpoint(part: Path) -> None:
    """Refuse a proxy's error or login page, and an incomplete download.

    torch writes zip archives, whose directory comes last; old versions wrote plain pickles.

    Raises:
        FetchError: the file is neither a complete zip archive nor a pickle; it is deleted.
    """
    with part.open("rb") as file:
        start = file.read(16)
    if zipfile.is_zipfile(part) or start[:2] == _PICKLE:
        return
    kind = "nothing" if not start else "a page" if start.lstrip()[:1] == b"<" else "something else"
    if start[:4] == _ZIP:
        kind = "a part of it"
    part.unlink()
    _etag_path(part).unlink(missing_ok=True)
    raise FetchError(
        f"the address of {part.stem} gave no checkpoint",
        got=kind,
        expected="a file that torch wrote",
        fix="open the address in a browser, or run the command again",
    )


def _check_record(target: Path, record: Path) -> None:
    if not record.exists():
        raise FetchError(f"{target} is there without its record {record.name}", fix="move it away")
    digest = sha256_of(target)
    if record.read_text().split()[:1] != [digest]:
        raise FetchError(
            f"{target} is not the file that was downloaded",
            got=digest,
            fix="delete it and fetch again",
        )


def _download(url: str, part: Path, progress: DownloadProgress) -> None:
    here = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"elir-edge/{__version__}"}
    etag = _read_etag(part)
    if here and etag:
        headers |= {"Range": f"bytes={here}-", "If-Range": etag}
    try:
        request = urllib.request.Request(url, headers=headers)
    except ValueError as error:
        raise UsageError(f"{url} is not an address", expected="https://...") from error
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            _receive(response, part, here if response.status == 206 else 0, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416 and here:
            # The partial file is as long as the server's, or longer: nothing to continue.
            part.unlink()
            return _download(url, part, progress)
        raise FetchError(
            f"{url} answered {error.code} {error.reason}", fix="check the task and the connection"
        ) from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"{url} cannot be fetched ({reason})",
            fix="run the command again when there is a connection; the part so far is kept",
        ) from error


def _receive(response: HTTPResponse, part: Path, here: int, progress: DownloadProgress) -> None:
    length = response.headers.get("Content-Length")
    total = here + int(length) if length else None
    with part.open("ab" if here else "wb") as file:
        # Write the ETag only after the old bytes are gone, so that it never belongs to other bytes.
        _etag_path(part).write_text(json.dumps(response.headers.get("ETag", "")))
        progress(here, total)
        while block := response.read(_BLOCK):
            file.write(block)
            here += len(block)
            progress(here, total)
    if total is not None and here != total:
        raise FetchError(
            f"the download of {part.stem} is incomplete",
            got=f"{here} bytes",
            expected=f"{total}",
            fix="run the command again; it continues where it stopped",
        )


def _etag_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _read_etag(part: Path) -> str:
    path = _etag_path(part)
    if not path.exists():
        return ""
    try:
        value = json.loads(path.read_text())
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""
