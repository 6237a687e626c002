"""Results' files are refused before anything is measured."""

import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.options import JsonFile, writable
from elir_edge.errors import UsageError


def test_files_that_can_be_written_pass(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("{}")
    missing = tmp_path / "a" / "b" / "new.json"
    assert [writable(path) for path in (None, old, missing)] == [None, old, missing]
    assert not missing.parent.exists()
    assert old.read_text() == "{}"


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert writable(Path("new.json")) == Path("new.json")


def test_files_that_cannot_be_written_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="is a folder; expected a file"):
        writable(tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match=r"new\.json cannot be written; got a file .*/file; fix"):
        writable(file / "new.json")
    # Permissions do not bind root, which tests may run as.
    monkeypatch.setattr(os, "access", lambda path, mode: path not in (file, tmp_path))
    with pytest.raises(UsageError, match=r"file cannot be written; fix: .*chmod .*/file"):
        writable(file)
    with pytest.raises(UsageError, match=r"new\.json cannot be written; fix: .*chmod"):
        writable(tmp_path / "new.json")


def test_the_option_refuses_before_the_command_runs(tmp_path: Path) -> None:
    app = typer.Typer()

    @app.command()
    def run(out: JsonFile = None) -> None:
        pytest.fail("ran")

    done = CliRunner().invoke(app, ["--out", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
