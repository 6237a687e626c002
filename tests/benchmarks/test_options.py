"""Results' files are refused before anything is measured; names of rows."""

import errno
import tempfile
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.options import JsonFile, names_of, require_different, writable, writable_folder
from elir_edge.errors import UsageError


def test_files_that_can_be_written_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old.json"
    old.write_text("{}")
    missing = tmp_path / "a" / "b" / "new.json"
    assert [writable(path) for path in (None, old, missing)] == [None, old, missing]
    assert writable_folder(missing) == missing
    assert not missing.parent.exists()
    assert old.read_text() == "{}"
    monkeypatch.chdir(tmp_path)
    assert writable(Path("new.json")) == Path("new.json")


def test_files_that_cannot_be_written_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="is a folder; expected a file"):
        writable(tmp_path)
    file = tmp_path / "file"
    file.touch()
    for refuse in (writable, writable_folder):
        with pytest.raises(UsageError, match=r"new\.json cannot be written; got a file .*/file;"):
            refuse(file / "new.json")
    with pytest.raises(UsageError, match=r"file cannot be written; got a file .*/file;"):
        writable_folder(file)
    with pytest.raises(UsageError, match="has no name; expected a file"):
        writable(Path())
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(UsageError, match="circle cannot be written; got a link to itself"):
        writable(circle)
    make = tempfile.TemporaryFile

    def refusing(dir: Path) -> Any:  # permissions do not bind root, which tests may run as
        if dir == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return make(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", refusing)
    # An old file may be read-only, but its folder may not: a new one takes its place.
    for path in (file, tmp_path / "new.json"):
        with pytest.raises(UsageError, match=r"cannot be written; got Permission denied in"):
            writable(path)
    there = tmp_path / "there"
    there.mkdir()
    link = there / "link.json"
    link.symlink_to(tmp_path / "new.json")
    with pytest.raises(UsageError, match=r"link\.json cannot be written"):
        writable(link)
    assert writable(there / "new.json") is not None


def test_one_file_for_two_results_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    require_different({"--out": one, "--markdown": other, "--picture": None})
    other.symlink_to(one)
    with pytest.raises(UsageError, match="--out and --markdown name the same file"):
        require_different({"--out": one, "--markdown": other})


def test_the_option_refuses_before_the_command_runs(tmp_path: Path) -> None:
    app = typer.Typer()

    @app.command()
    def run(out: JsonFile = None) -> None:
        pytest.fail("ran")

    done = CliRunner().invoke(app, ["--out", str(tmp_path)])
    assert isinstance(done.exception, UsageError)


def test_equal_names_are_told_apart() -> None:
    one, other = Path("a/w.safetensors"), Path("b/w.pth")
    assert names_of([one, Path("a/v.pth")], ["nano"]) == ["w", "v"]
    assert names_of([one, other]) == ["a/w.safetensors", "b/w.pth"]
    assert names_of([one], ["w", "nano"]) == ["a/w.safetensors"]
