"""`elir-edge restore` on folders: originals are safe, what is left out is said."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elir_edge import files
from elir_edge.cli.app import app
from elir_edge.cli.restoring.jobs import mask_of, plan_jobs
from elir_edge.cli.restoring.photos import RemarkLog
from elir_edge.errors import ImageError, UsageError
from elir_edge.runtime import FileResult, Remark, Restorer, images
from elir_edge.runtime.images import SUFFIXES, Picture, write_picture
from tests.conftest import Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with images in it and below it, a text, and a leftover."""
    root = tmp_path / "photos"
    for name in ("b.png", "a.png", "sub/a.png", "sub/deep/c.jpg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    (root / "notes.txt").write_text("no image")
    (root / ".a.png.0123456789abcdef.png").write_bytes(b"half")
    return root


def _names(folder: Path, **options: bool) -> list[tuple[str, str]]:
    target = folder.parent / "out"
    jobs = plan_jobs(folder, target, SUFFIXES, **options)
    return [(str(a.relative_to(folder)), str(b.relative_to(target))) for a, b in jobs.todo]


def test_a_folder_and_what_lies_below_it(folder: Path) -> None:
    assert _names(folder) == [("a.png", "a.png"), ("b.png", "b.png")]
    everything = ["a.png", "b.png", "sub/a.png", "sub/deep/c.jpg"]
    assert _names(folder, recursive=True) == [(name, name) for name in everything]
    others = plan_jobs(folder, folder.parent / "out", SUFFIXES).others
    assert [path.name for path in others] == ["notes.txt"]


def test_folders_that_are_not_entered_are_told(folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / "out").mkdir()
    told = plan_jobs(folder, folder / "out", SUFFIXES).not_entered()
    assert told == ["left out, without --recursive: sub"]
    assert plan_jobs(folder, folder / "out", SUFFIXES, recursive=True).not_entered() == []


def test_links_to_folders_are_told_and_not_followed(folder: Path) -> None:
    """They may lead back, and would be read for ever."""
    (folder / "sub" / "up").symlink_to("..")
    jobs = plan_jobs(folder, folder.parent / "out", SUFFIXES, recursive=True)
    assert len(jobs.todo) == 4
    assert [path.name for path in jobs.others] == ["notes.txt", "up"]
    assert [p.name for p in plan_jobs(folder, folder / "out", SUFFIXES).others] == ["notes.txt"]


def test_results_below_the_inputs_are_no_inputs(folder: Path) -> None:
    target = folder / "restored"
    target.mkdir()
    (target / "a.png").write_bytes((folder / "a.png").read_bytes())
    jobs = plan_jobs(folder, target, SUFFIXES, recursive=True, skip_existing=True)
    assert jobs.existing == [folder / "a.png"]
    assert [str(path.relative_to(folder)) for path, _ in jobs.todo] == [
        "b.png",
        "sub/a.png",
        "sub/deep/c.jpg",
    ]


@pytest.mark.parametrize("force", [False, True])
def test_an_input_is_never_written_over(folder: Path, force: bool) -> None:
    photo = folder / "a.png"
    for target in (photo, folder, folder / ".." / "photos" / "a.png"):
        with pytest.raises(UsageError, match="would be written over"):
            plan_jobs(photo, target, SUFFIXES, force=force)
    with pytest.raises(UsageError, match="among the inputs"):
        plan_jobs(folder, folder, SUFFIXES, force=force)
    with pytest.raises(UsageError, match="among the inputs"):
        plan_jobs(folder, folder / "sub" / "..", SUFFIXES, force=force)
    for name, make in (("soft.png", os.symlink), ("hard.png", os.link)):
        make(photo, folder.parent / name)
        with pytest.raises(UsageError, match="would be written over"):
            plan_jobs(photo, folder.parent / name, SUFFIXES, force=force)
    out = folder.parent / "out"
    out.mkdir()
    os.link(folder / "b.png", out / "a.png")  # another one's input
    with pytest.raises(UsageError, match="would be written over"):
        plan_jobs(folder, out, SUFFIXES, force=force)


def test_what_exists_is_replaced_or_left_out_when_told(folder: Path) -> None:
    out = folder.parent / "out"
    out.mkdir()
    (out / "a.png").write_text("old")
    with pytest.raises(UsageError, match=r"out/a\.png exists; fix: pass --force"):
        plan_jobs(folder, out, SUFFIXES)
    (out / "b.png").write_text("old")
    with pytest.raises(UsageError, match="exists, as do 1 other results"):
        plan_jobs(folder, out, SUFFIXES)
    assert len(plan_jobs(folder, out, SUFFIXES, force=True).todo) == 2
    (out / "b.png").unlink()
    jobs = plan_jobs(folder, out, SUFFIXES, skip_existing=True)
    assert [path.name for path, _ in jobs.todo] == ["b.png"]
    assert [path.name for path in jobs.existing] == ["a.png"]
    assert jobs.summary() == [
        "skipped 1 (restored before): a.png",
        "skipped 1 (no image): notes.txt",
    ]


def test_no_images_says_how_to_find_some(folder: Path) -> None:
    for name in ("a.png", "b.png"):
        (folder / name).unlink()
    with pytest.raises(ImageError, match="pass --recursive for those in subfolders"):
        plan_jobs(folder, folder.parent / "out", SUFFIXES)
    assert len(_names(folder, recursive=True)) == 2


def test_the_command(run_any: Run, tiny_bundle: Path, folder: Path) -> None:
    out = folder.parent / "out"
    out.mkdir()
    old, fresh = (out / f".x.png.{digit * 16}.png" for digit in "0a")
    for path in (old, fresh):
        path.write_bytes(b"half")
    hour_ago = time.time() - 3700
    os.utime(old, (hour_ago, hour_ago))
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def run(*options: str) -> tuple[int, list[str], str]:
        done = run_any(app, "restore", folder, out, "--bundle", tiny_bundle, *options)
        return done.code, done.out.splitlines(), done.err

    code, lines, _ = run("--recursive")
    assert code == 0
    assert lines == ["skipped 1 (no image): notes.txt", f"restored 4 of 4 into {out}"]
    found = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert found == [fresh.name, "a.png", "b.png", "sub/a.png", "sub/deep/c.jpg"]
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before

    code, _, error = run("--recursive")
    assert (code, "exists, as do 3 other results" in error) == (2, True)
    code, lines, _ = run("--recursive", "--skip-existing")
    assert (code, lines[-1]) == (0, f"restored 0 of 0 into {out}")
    assert lines[0] == "skipped 4 (restored before): a.png, b.png, a.png, c.jpg"
    code, lines, _ = run("--force")
    assert (code, lines[-1]) == (0, f"restored 2 of 2 into {out}")
    code, _, error = run("--force", "--skip-existing")
    assert (code, "contradict each other" in error) == (2, True)


def test_an_interruption_says_what_was_done(
    run_any: Run, tiny_bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def restore_file(self: Restorer, source: Path, target: Path, **options: object) -> FileResult:
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return FileResult(path=target, remarks=())

    monkeypatch.setattr(Restorer, "restore_file", restore_file)
    out = folder.parent / "out"
    done = run_any(app, "restore", folder, out, "--bundle", tiny_bundle)
    assert done.code == 130
    assert f"restored 1 of 2 into {out}" in done.out
    assert "Traceback" not in done.err


def test_a_full_disk_ends_a_folder_at_once(
    run_any: Run, tiny_bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restoring the others, for hours perhaps, would be in vain."""

    def full(path: Path, content: bytes) -> None:
        if path.name == "b.png":
            raise OSError(28, "No space left on device")
        write_whole(path, content)

    write_whole = files.write_whole
    monkeypatch.setattr(images, "write_whole", full)
    out = folder.parent / "out"
    done = run_any(app, "restore", folder, out, "--recursive", "--bundle", tiny_bundle)
    assert done.code == 1
    assert f"restored 1 of 4 into {out}" in done.out
    assert "error: cannot write" in done.err
    assert "No space left on device" in done.err
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["a.png"]


def test_a_photo_too_large_for_the_memory_is_one_line(
    run_any: Run, tiny_bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_file = Restorer.restore_file

    def too_large(self: Restorer, source: Path, target: Path, **options: Any) -> FileResult:
        if source.name == "a.png":
            raise MemoryError
        return restore_file(self, source, target, **options)

    monkeypatch.setattr(Restorer, "restore_file", too_large)
    out = folder.parent / "out"
    done = run_any(app, "restore", folder, out, "--bundle", tiny_bundle)
    assert done.code == 1
    assert "failed: there is not enough memory for " in done.out
    assert f"restored 1 of 2 into {out}" in done.out
    done = run_any(app, "restore", folder / "a.png", out / "x.png", "--bundle", tiny_bundle)
    assert (done.code, "error: there is not enough memory for " in done.err) == (1, True)


def test_folders_without_rights_are_refused_before_the_work(
    run_any: Run, tiny_bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the folder for results is yet to be made in one."""
    parent = folder.parent
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != parent)
    monkeypatch.setattr(Restorer, "restore_file", lambda *a, **k: pytest.fail("it worked in vain"))
    done = run_any(app, "restore", folder, parent / "out", "--bundle", tiny_bundle)
    assert done.code == 1
    assert f"error: the system refused {parent}: Permission denied" in done.err


def test_leftovers_are_told_by_their_names() -> None:
    for name, is_one in (
        (".a.png.0123456789abcdef.png", True),
        (".model.0123456789abcdef", True),
        (".a.png", False),
        ("a.0123456789abcdef.png", False),
        (".a.png.0123456789abcdeg.png", False),
        (".hidden.0123.png", False),
    ):
        assert bool(files._LEFTOVER.fullmatch(name)) == is_one, name


def test_each_kind_of_remark_is_printed_once_and_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = RemarkLog()
    log.add(Path("x/a.png"), [Remark(kind="clean", text="too clean (sigma 6)")])
    log.add(Path("x/b.png"), [Remark(kind="clean", text="too clean (sigma 7)")])
    log.add(Path("x/c.png"), [Remark(kind="clean", text="!"), Remark(kind="size", text="large")])
    log.summarize()
    assert capsys.readouterr().err.splitlines() == [
        "warning: a.png: too clean (sigma 6)",
        "warning: c.png: large",
        "warning: the same holds for 2 more (clean)",
    ]


def test_everything_that_is_lost_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    log = RemarkLog()
    log.add(Path("a.jpg"), [Remark(kind="file", text="no XMP"), Remark(kind="file", text="no dpi")])
    log.add(Path("b.jpg"), [Remark(kind="file", text="no dpi")])
    log.summarize()
    assert capsys.readouterr().err.splitlines() == [
        "warning: a.jpg: no XMP",
        "warning: a.jpg: no dpi",
        "warning: the same holds for 1 more (no dpi)",
    ]


def test_a_clean_photo_is_remarked_on(run_any: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    """The tiny bundle's weights say that they learned sigma 89.6."""
    write_picture(tmp_path / "a.png", Picture(pixels=np.full((64, 64, 3), 99, np.uint8)))
    done = run_any(app, "restore", tmp_path / "a.png", tmp_path / "b.png", "--bundle", tiny_bundle)
    assert done.code == 0
    assert "warning: a.png: this photo looks cleaner (sigma 0) than what this model" in done.err


def test_masks_are_found_by_name(tmp_path: Path) -> None:
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    for name in ("photos/a.jpg", "photos/deep/b[1].jpg", "masks/a.png", "masks/deep/b[1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    suffixes = (".png", ".jpg")
    assert mask_of(photos / "a.jpg", photos, None, suffixes) is None
    assert mask_of(photos / "a.jpg", photos, masks, suffixes) == masks / "a.png"
    deep = mask_of(photos / "deep" / "b[1].jpg", photos, masks, suffixes)
    assert deep == masks / "deep" / "b[1].png"
    assert mask_of(photos / "a.jpg", photos / "a.jpg", masks, suffixes) == masks / "a.png"
    one = masks / "a.png"
    assert mask_of(photos / "deep" / "b[1].jpg", photos, one, suffixes) == one
    with pytest.raises(UsageError, match=r"no mask .*nothing"):
        mask_of(photos / "a.jpg", photos, tmp_path / "nothing", suffixes)
    (masks / "a.jpg").touch()
    with pytest.raises(UsageError, match=r"2 masks for .*expected one image named a"):
        mask_of(photos / "a.jpg", photos, masks, suffixes)


def test_a_mask_for_another_task_is_one_line(
    run_any: Run, tiny_bundle: Path, tmp_path: Path
) -> None:
    for name in ("a.png", "mask.png"):
        write_picture(tmp_path / name, Picture(pixels=np.zeros((8, 8, 3), np.uint8)))
    options = ("--bundle", tiny_bundle, "--mask", tmp_path / "mask.png")
    done = run_any(app, "restore", tmp_path / "a.png", tmp_path / "b.png", *options)
    assert done.code == 2
    assert "denoising does not fill in" in done.err
    assert not (tmp_path / "b.png").exists()


def test_a_task_and_a_bundle_are_one_too_many(
    run_any: Run, tiny_bundle: Path, folder: Path
) -> None:
    source, target = folder / "a.png", folder / "out.png"
    done = run_any(app, "restore", source, target, "--task", "sr", "--bundle", tiny_bundle)
    assert done.code == 2
    assert "--task and --bundle contradict each other; fix: pass one" in done.err
    done = run_any(app, "restore", source, target)
    assert done.code == 2
    assert "no task or bundle given" in done.err


def test_masks_are_inputs(run_any: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    for name in ("a.png", "mask.png"):
        write_picture(tmp_path / name, Picture(pixels=np.full((8, 8, 3), 9, np.uint8)))
    kept = (tmp_path / "mask.png").read_bytes()
    options = ("--bundle", tiny_bundle, "--mask", tmp_path / "mask.png", "--force")
    done = run_any(app, "restore", tmp_path / "a.png", tmp_path / "mask.png", *options)
    assert done.code == 2
    assert "mask.png is an input: it would be written over" in done.err
    assert (tmp_path / "mask.png").read_bytes() == kept
    with pytest.raises(ImageError, match="is an input"):
        Restorer(tiny_bundle).restore_file(
            tmp_path / "a.png", tmp_path / "mask.png", mask=tmp_path / "mask.png"
        )


def test_force_takes_no_target_among_the_inputs(folder: Path) -> None:
    """Which of the files there are results and which are originals, nobody can tell."""
    with pytest.raises(UsageError, match="with --force an input could be replaced"):
        plan_jobs(folder, folder / "sub", SUFFIXES, recursive=True, force=True)
    plan_jobs(folder, folder / "new", SUFFIXES, recursive=True, force=True)
    plan_jobs(folder, folder / "sub", SUFFIXES, recursive=True, skip_existing=True)


def test_names_near_the_system_s_limit(tmp_path: Path) -> None:
    files.write_whole(tmp_path / f"{'n' * 247}.png", b"content")
    assert [path.name for path in tmp_path.iterdir()] == [f"{'n' * 247}.png"]


def test_a_link_to_itself_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(OSError, match="symbolic links"):
        files.write_whole(tmp_path / "loop.png", b"content")
