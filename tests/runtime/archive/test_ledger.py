"""The ledger: rows come back, no file is replaced, and folders are what they seem."""

from pathlib import Path

import pytest

from elir_edge.errors import ArchiveError, UsageError
from elir_edge.runtime.archive import Ledger
from elir_edge.runtime.archive.store import Store
from tests.runtime.archive.photos import entry

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `ray`")
pytest.importorskip("fsspec", reason="needs the extra `ray`")

_REQUEST = {"bundle": "x"}


def test_rows_come_back(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    ledger = Ledger(store, _REQUEST)
    assert ledger.photos() == (set(), set())
    rows = [entry(f"a/{i}.png", "failed" if i == 3 else "done") for i in range(5)]
    assert ledger.add(rows[:3]) > 0
    again = Ledger(store, _REQUEST)
    again.add(rows[3:])
    assert list(Ledger(store, _REQUEST).entries()) == rows
    assert again.photos() == ({row.photo for row in rows}, {"a/3.png"})
    # Other programs read the whole folder.
    assert parquet.read_table(tmp_path / "out" / "_ledger").num_rows == 5


def test_another_request_is_refused_once_there_are_results(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    Ledger(store, {"bundle": "mistaken"})
    ledger = Ledger(store, _REQUEST)  # nothing was restored: no harm is done
    store.write("a.png", b"result")
    with pytest.raises(UsageError, match="results of another request; got bundle x before and y"):
        Ledger(store, {"bundle": "y"})
    store.delete("a.png")
    ledger.add([entry("a.png", "failed")])
    with pytest.raises(UsageError, match="results of another request"):
        Ledger(store, {"bundle": "y"})
    for content in (b"{", b"[]", b"\xff", b""):
        store.write("_ledger/_request.json", content)
        with pytest.raises(UsageError, match=r"got a damaged _request\.json"):
            Ledger(store, _REQUEST)


@pytest.mark.parametrize("kept", [0, 3, -8, -1])
def test_a_ledger_that_is_cut_off_is_one_line(tmp_path: Path, kept: int) -> None:
    store = Store(str(tmp_path / "out"))
    Ledger(store, _REQUEST).add([entry("a.png")])
    (part,) = (tmp_path / "out" / "_ledger").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:kept])
    match = rf"{part.name} of the ledger is damaged .*fix: delete it"
    with pytest.raises(ArchiveError, match=match):
        Ledger(store, _REQUEST).photos()


def test_two_programs_replace_no_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    one, two = Ledger(store, _REQUEST), Ledger(store, _REQUEST)
    with one.locked():
        with (
            pytest.raises(ArchiveError, match=r"another program is restoring into .*; fix: wait"),
            two.locked(),
        ):
            pass
        one.add([entry("a.png")])
        two.add([entry("b.png")])  # as where programs cannot be locked out
    assert Ledger(store, _REQUEST).photos() == ({"a.png", "b.png"}, set())
    with two.locked():
        pass


def test_files_without_a_ledger_are_not_results(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files, and no ledger"):
        Ledger(Store(str(tmp_path)), _REQUEST)
