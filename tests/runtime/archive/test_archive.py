"""Archives on a Ray cluster: each photo once, whatever dies."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from elir_edge.runtime.archive import Ledger, restore_archive
from elir_edge.runtime.archive.store import Store
from tests.runtime.archive.photos import write_photos

pytest.importorskip("ray", reason="needs the extra `ray`")
pytest.importorskip("pyarrow", reason="needs the extra `ray`")


def _children(name: bytes) -> list[int]:
    """Return the processes whose command line holds a name."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and name in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds workers by /proc")
def test_a_thousand_photos_with_a_worker_killed(tiny_bundle: Path, tmp_path: Path) -> None:
    """990 results, ten failures named, none twice, in two runs, the first of which is killed."""
    broken = write_photos(tmp_path / "in", 1000, broken=10)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "elir_edge", "restore", str(tmp_path / "in"), str(out)]
    command += ["--engine", "ray", "--workers", "2", "--bundle", str(tiny_bundle)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def results() -> list[Path]:
        return [path for path in out.rglob("*.png") if not path.name.startswith(".")]

    def wait_for(count: int, process: subprocess.Popen[str]) -> None:
        ends = time.monotonic() + 300
        while len(results()) < count and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.05)
        assert len(results()) >= count, process.communicate()

    before = set(_children(b"_RayWorker"))
    process = start()
    wait_for(50, process)
    workers = set(_children(b"_RayWorker")) - before
    assert workers
    os.kill(min(workers), signal.SIGKILL)
    out_text, err = process.communicate(timeout=500)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert "restored 990, failed 10, into" in out_text
    for name in broken:
        assert f"failed: {name}: " in out_text
    rows = list(Ledger(Store(str(out)), _request_of(out)).entries())
    assert Counter(row.status for row in rows) == {"done": 990, "failed": 10}
    assert max(Counter(row.photo for row in rows).values()) == 1
    assert sorted(row.photo for row in rows if row.status == "failed") == sorted(broken)
    assert len(results()) == 990
    assert {str(path.relative_to(out)) for path in results()} == {
        row.photo for row in rows if row.status == "done"
    }
    # A further run finds nothing to do.
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "restored 0, failed 0, 1000 by earlier runs" in again.stdout


@pytest.mark.slow
def test_a_killed_run_goes_on(tiny_bundle: Path, tmp_path: Path) -> None:
    """The program itself is killed: the next run restores what has no row, and no photo twice."""
    write_photos(tmp_path / "in", 200)
    # What a killed run leaves: rows of some, results of more.
    done = restore_archive(
        str(tmp_path / "in"), str(tmp_path / "first"), bundle=tiny_bundle, workers=2
    )
    assert (done.done, done.failed) == (200, ())
    first = tmp_path / "first"
    rows = list(Ledger(Store(str(first)), _request_of(first)).entries())
    ledger = first / "_ledger"
    for part in ledger.glob("*.parquet"):
        part.unlink()
    Ledger(Store(str(first)), _request_of(first)).add(rows[:120])
    whole = {path: path.read_bytes() for path in first.rglob("*.png")}
    again = restore_archive(str(tmp_path / "in"), str(first), bundle=tiny_bundle, workers=2)
    assert (again.done, again.before) == (80, 120)
    rows = list(Ledger(Store(str(first)), _request_of(first)).entries())
    assert len(rows) == len({row.photo for row in rows}) == 200
    assert {path: path.read_bytes() for path in first.rglob("*.png")} == whole


_KILLER = """
import os

import elir_edge.runtime.archive.worker as module

read = module.PhotoWorker._read


def read_or_die(self, photo):
    return os._exit(1) if photo == os.environ["KILLER"] else read(self, photo)


module.PhotoWorker._read = read_or_die
"""


@pytest.mark.slow
def test_a_photo_that_kills_its_workers_is_given_up(tiny_bundle: Path, tmp_path: Path) -> None:
    """The other 39 are restored, in its block as well."""
    write_photos(tmp_path / "in", 40)
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(_KILLER)
    command = [sys.executable, "-m", "elir_edge", "restore", str(tmp_path / "in")]
    command += [str(tmp_path / "out"), "--engine", "ray", "--workers", "1"]
    paths = [str(tmp_path / "patch"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [*command, "--bundle", str(tiny_bundle)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KILLER": "3/0017.png", "PYTHONPATH": os.pathsep.join(paths)},
        timeout=500,
    )
    assert done.returncode == 1, done.stderr
    assert "failed: 3/0017.png: 3/0017.png: 2 workers died while they restored it" in done.stdout
    assert "restored 39, failed 1, into" in done.stdout
    found = {path.name for path in (tmp_path / "out" / "_ledger").iterdir()}
    assert not any(name.startswith(".deaths") for name in found)


def _request_of(out: Path) -> dict[str, Any]:
    import json

    content: dict[str, Any] = json.loads((out / "_ledger" / "_request.json").read_text())
    return content
