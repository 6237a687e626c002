"""The commands as a user types them: output, exit codes, one line per mistake."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from elir_edge import __version__
from elir_edge.cli.app import app
from elir_edge.console import run_app
from elir_edge.errors import ElirError
from elir_edge.runtime import Restorer
from elir_edge.runtime.bundle import write_manifest
from elir_edge.runtime.manifest import Manifest
from elir_edge.start import start
from export.cli import app as export_app
from tests.conftest import Done, Run, assert_mistake

COMMANDS = (
    "restore",
    "info",
    "verify",
    "train",
    "degrade",
    "evaluate",
    "fetch",
    "doctor",
    "distill",
    "demo",
)


@pytest.fixture
def run(run_any: Run) -> Run:
    """Return a function that runs `elir-edge` on arguments."""
    return lambda *arguments: run_any(app, *arguments)


@pytest.fixture
def run_export(run_any: Run) -> Run:
    """Return a function that runs `python -m export` on arguments."""
    return lambda *arguments: run_any(export_app, *arguments)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with two images, a broken one and a text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (folder / "b.png").write_text("no image")
    Image.fromarray(pixels[..., 0]).save(folder / "c.JPG")
    (folder / "notes.txt").write_text("no image either")
    return folder


def _is_usage(done: Done, *said: str) -> None:
    """A mistake that the parser of the command line finds."""
    assert done.code == 2
    assert "Traceback" not in done.err
    for part in said:
        assert part in done.err


# restore


def test_restore_a_file(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.png"
    done = run("restore", photos / "a.png", target, "--bundle", tiny_bundle, "--threads", 1)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"restored 1 of 1 into {target}\n"
    source = np.asarray(Image.open(photos / "a.png"))
    expected = Restorer(tiny_bundle, threads=1).restore(source)
    assert np.array_equal(np.asarray(Image.open(target)), expected)
    assert not np.array_equal(expected, source)


def test_restore_a_file_into_a_folder(
    run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    assert run("restore", photos / "a.png", tmp_path / "out", "--bundle", tiny_bundle).code == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]


def test_restore_a_folder_with_a_broken_image(
    run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    done = run("restore", photos, tmp_path / "out", "--bundle", tiny_bundle)
    assert done.code == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "c.JPG"]
    assert Image.open(tmp_path / "out" / "c.JPG").mode == "L"
    lines = (done.out + done.err).splitlines()
    failed = [line for line in lines if line.startswith("failed: ")]
    assert len(failed) == 1
    assert f"{photos / 'b.png'} is not an image" in failed[0]
    assert f"restored 2 of 3 into {tmp_path / 'out'}" in lines
    assert "Traceback" not in done.err


def test_restore_a_whole_folder(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "b.png").unlink()
    (photos / "notes.txt").unlink()
    done = run("restore", photos, tmp_path / "out", "--bundle", tiny_bundle)
    assert (done.code, done.out) == (0, f"restored 2 of 2 into {tmp_path / 'out'}\n")


def test_names_are_printed_as_they_are(
    run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    """Neither markup nor emoji codes in a file's name are acted on."""
    broken = (photos / "b.png").rename(photos / "[red]:cat:[x].png")
    done = run("restore", photos, tmp_path / "out", "--bundle", tiny_bundle)
    assert str(broken) in done.out + done.err
    assert_mistake(
        run("restore", broken, tmp_path / "o.png", "--bundle", tiny_bundle), 1, str(broken)
    )


def test_restore_mistakes(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    out, bundle = tmp_path / "out.png", ("--bundle", tiny_bundle)
    assert_mistake(run("restore", photos / "b.png", out, *bundle), 1, "is not an image")
    assert_mistake(run("restore", photos / "z.png", out, *bundle), 1, "no image file")
    assert_mistake(run("restore", photos / "a.png", "out.xyz", *bundle), 1, "'.xyz'", ".png")
    assert_mistake(run("restore", photos / "a.png", out, "--bundle", photos), 1, "is not a bundle")
    (tmp_path / "empty").mkdir()
    assert_mistake(run("restore", tmp_path / "empty", out, *bundle), 1, "no images in")
    assert_mistake(run("restore", photos, photos / "a.png", *bundle), 2, "is a file")
    _is_usage(run("restore", photos / "a.png", out), "--bundle")
    _is_usage(run("restore", photos / "a.png", out, *bundle, "--threads", 0), "--threads")
    _is_usage(run("restore", photos / "a.png", out, *bundle, "--seed", -1), "--seed")
    assert not out.exists()


# info and verify


def test_info(run: Run, tiny_bundle: Path) -> None:
    done = run("info", tiny_bundle)
    assert (done.code, done.err) == (0, "")
    for part in ("denoising", "K = 2", "fp32", "onnxruntime", "float32 NCHW 1 x 3 x 64 x 64 RGB"):
        assert part in done.out


def test_info_as_json(run: Run, tiny_bundle: Path) -> None:
    done = run("info", tiny_bundle, "--json")
    assert done.code == 0
    assert done.out == (tiny_bundle / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(done.out)["identity"]["task"] == "denoising"


def test_info_on_what_a_manifest_may_say(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    """Names in brackets are no markup, and a later version may know other tasks."""
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    values["source"]["checkpoint"] = "runs[/old]/[bold]w[1].pth"
    values["identity"]["task"] = "deblurring"
    write_manifest(folder, Manifest.from_json(json.dumps(values)))
    done = run("info", folder)
    assert (done.code, done.err) == (0, "")
    assert "runs[/old]/[bold]w[1].pth" in done.out
    assert "deblurring" in done.out


def test_verify(run: Run, tiny_bundle: Path) -> None:
    done = run("verify", tiny_bundle, "--threads", 1)
    assert (done.code, done.err) == (0, "")
    assert "hashes match; self-test identical on onnxruntime" in done.out
    assert "on onnxruntime " in done.out


@pytest.mark.parametrize("command", ["info", "verify"])
def test_what_is_no_bundle(command: str, run: Run, tmp_path: Path) -> None:
    assert_mistake(run(command, tmp_path), 1, "is not a bundle", "fix: ")
    assert_mistake(run(command, tmp_path / "missing"), 1, "is not a bundle")


def test_verify_an_altered_bundle(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    assert_mistake(run("verify", folder), 1, "altered after export", "model.onnx")


# doctor, fetch, train


def test_doctor(run: Run) -> None:
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    assert "onnxruntime" in done.out
    assert "ready" in done.out


def test_doctor_as_json(run: Run) -> None:
    done = run("doctor", "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert set(report) == {"machine", "packages", "abilities"}
    assert report["packages"]["numpy"] == np.__version__
    for ability in report["abilities"]:
        assert bool(ability["missing"]) == bool(ability["fix"])


def test_doctor_names_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from export.targets.registry import TARGETS

    real = metadata.version

    def without_onnx(name: str) -> str:
        if name == "onnx":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", without_onnx)
    report = json.loads(run("doctor", "--json").out)
    assert report["packages"]["onnx"] is None
    lacking = {a["name"]: a for a in report["abilities"] if a["missing"]}
    exports = {name: a["missing"] for name, a in lacking.items() if "TARGET" in name}
    assert exports == {f"export TARGET={target}": ["onnx"] for target in TARGETS}
    # What is not part of `dev`, or needs a GPU.
    rest = {name for name in lacking if name not in exports and "lpips" not in name}
    assert rest <= {"restore a bundle (tensorrt)"}
    done = run("doctor")
    assert "needs onnx: in a checkout: make export" in done.out
    assert "not installed" in done.out


@pytest.mark.parametrize("program", [None, "nvidia-smi"])
def test_doctor_needs_a_driver_for_engines(
    program: str | None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elir_edge.cli.doctor.find_library", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: name if name in {program, "java"} else None)
    report = json.loads(run("doctor", "--json").out)
    (restoring,) = (a for a in report["abilities"] if a["name"] == "restore a bundle (tensorrt)")
    assert ("an NVIDIA driver" in restoring["missing"]) == (program is None)
    assert report["machine"]["nvidia driver"] == ("found" if program else "not found")


def test_fetch_mistakes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    out = ("--out", tmp_path / "checkpoints")
    assert_mistake(run("fetch", "deblurring", *out), 2, "unknown task 'deblurring'", "bfr")
    assert_mistake(run("fetch", "bfr", *out, "--url", "somewhere"), 2, "is not an address")
    # Port 1 is reserved; nothing listens there.
    assert_mistake(run("fetch", "bfr", *out, "--url", "http://127.0.0.1:1"), 1, "cannot be fetched")


def test_train_mistakes(run: Run, photos: Path, tmp_path: Path) -> None:
    rest = ("--data", photos, "--out", tmp_path / "run")
    assert_mistake(run("train", "deblurring", *rest), 2, "deblurring")
    assert_mistake(run("train", "denoising", *rest, "--preset", "huge"), 2, "huge")
    _is_usage(run("train", "denoising"), "--data")
    for epochs in ("nan", "inf", "-3", "0"):
        assert_mistake(
            run("train", "sr", *rest, "--epochs", epochs), 2, "is invalid; expected a finite"
        )
    assert_mistake(
        run("train", "autoencoder", *rest, "--degradation", "broad"), 2, "is for the tasks"
    )
    assert_mistake(run("train", "bfr", *rest, "--degradation", "broad"), 2, "published, paper")
    assert_mistake(
        run("train", "sr", *rest, "--init", photos, "--expansion", "4"), 2, "collapsed form"
    )
    assert_mistake(run("train", "sr", *rest, "--preset", "paper"), 1, "pass one by --autoencoder")
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    assert_mistake(run("train", "sr", *rest, "--init", text), 1, "can be read safely")
    assert not (tmp_path / "run").exists()


# export


def test_export_list(run_export: Run) -> None:
    done = run_export("--list")
    assert (done.code, done.err) == (0, "")
    for part in ("onnx", "fp32, fp16", "fold_scales"):
        assert part in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no task given"),
        (("--task", "deblurring"), "unknown task 'deblurring'"),
        (("--task", "denoising", "--target", "abacus"), "unknown target 'abacus'"),
        (("--task", "denoising", "--precision", "int4"), "no precision 'int4'"),
        (("--task", "denoising", "--noise", "pink"), "unknown noise policy 'pink'"),
        (("--task", "denoising", "--batch", "0"), "batch 0 is too small"),
        (("--task", "denoising", "--rewrites", "magic"), "rewrites magic are unknown"),
    ],
)
def test_export_of_what_there_is_not(
    arguments: tuple[str, ...], said: str, run_export: Run, tmp_path: Path
) -> None:
    assert_mistake(run_export(*arguments, "--out", tmp_path / "dist"), 2, said, "expected")
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("size", [0, -64, 65, 16])
def test_export_of_a_size_that_does_not_fit(
    size: int, run_export: Run, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    arguments = ("--task", "denoising", "--checkpoint", tiny_checkpoint, "--size", size)
    done = run_export(*arguments, "--out", tmp_path / "dist")
    assert_mistake(done, 2, f"size {size} does not fit", "multiple of 16")
    assert not (tmp_path / "dist").exists()


def test_export_of_checkpoints_that_cannot_serve(
    run_export: Run, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    def export(checkpoint: Path, *more: str, task: str = "denoising") -> Done:
        arguments = ("--task", task, "--size", 64, "--checkpoint", checkpoint, *more)
        return run_export(*arguments, "--out", tmp_path / "dist")

    assert_mistake(export(tmp_path / "missing.pth"), 1, "no checkpoint file")
    (tmp_path / "text.pth").write_text("no checkpoint")
    assert_mistake(export(tmp_path / "text.pth"), 1, "text.pth")
    assert_mistake(export(tiny_checkpoint, task="sr"), 1, "trained for another task")
    assert_mistake(export(tiny_checkpoint, "--model", "paper"), 2, "'tiny'", "'paper'")
    assert not (tmp_path / "dist").exists()


def test_export_says_where_the_bundle_is(
    run_export: Run, run: Run, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    arguments = ("--task", "denoising", "--size", 64, "--checkpoint", tiny_checkpoint)
    done = run_export(*arguments, "--out", tmp_path / "dist")
    assert done.code == 0
    (folder,) = (tmp_path / "dist").iterdir()
    assert folder.name.startswith("denoising-tiny-onnx-fp32-64-")
    assert f"bundle   {folder}" in done.out
    # Random weights restore nothing, and that is the one thing to remark on.
    assert "checks, 1 failed, which was allowed" in done.out
    assert done.err.startswith("warning: these weights hardly restore: ")
    assert done.err.count("\n") == 1
    assert (folder / "preview.png").is_file()
    assert f"elir-edge verify {folder}" in done.out
    assert run("verify", folder).code == 0


# What all commands share


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, run: Run) -> None:
    done = run(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Example: elir-edge {command}" in done.out


def test_every_command_is_listed(run: Run) -> None:
    done = run("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert f" {command} " in done.out
    names = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert set(COMMANDS) <= names


def test_export_has_help_with_an_example(run_export: Run) -> None:
    done = run_export("--help")
    assert done.code == 0
    assert "Example: python -m export --task" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demo", "--port", 70000), "invalid value for '--port': .* 65535"),
        (("bench",), "missing argument 'bundle'"),
        (("bench", "--nope", "x"), "no such option: --nope"),
        (("restor",), "no such command 'restor'"),
        (("train", "sr", "--data", "x", "--steps", "few"), "invalid value for '--steps'"),
    ],
)
def test_usage_errors_are_one_line(arguments: tuple[object, ...], message: str, run: Run) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert re.fullmatch(rf"error: {message}.*; fix: see .*elir-edge.* --help\n", done.err)


@pytest.mark.parametrize(("paths", "which"), [(("", "out"), "source"), (("in", ""), "target")])
def test_an_empty_path_is_not_the_current_folder(
    paths: tuple[str, str], which: str, run: Run
) -> None:
    assert_mistake(run("restore", *paths, "--task", "sr"), 2, f"the {which} is empty", "fix:")


@pytest.mark.parametrize(("unrolled", "said"), [(2, "nowhere"), (0, "unrolled_steps with grid")])
def test_the_grid_error_goes_with_the_unrolled_steps_that_are_asked_for(
    unrolled: int, said: str, photos: Path, tmp_path: Path, run: Run
) -> None:
    """The preset alone has none of them."""
    sizes = ("--steps", 4, "--coarse-steps", 2, "--crop-size", 64, "--batch-size", 1)
    paths = ("--data", photos, "--out", tmp_path / "run", "--autoencoder", tmp_path / "nowhere")
    preset = ("--preset", "paper", "--grid", 1, "--unrolled-steps", unrolled)
    done = run("train", "denoising", *preset, *sizes, *paths)
    assert done.code in {1, 2}
    assert said in done.err
    assert done.err.count("\n") == 1


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    done = run()
    assert (done.code, done.err) == (2, "")
    assert "doctor" in done.out


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"elir-edge {__version__}\n", "")


def test_unknown_commands_and_options(run: Run, tiny_bundle: Path) -> None:
    _is_usage(run("polish"), "polish")
    _is_usage(run("info"), "bundle")
    _is_usage(run("info", tiny_bundle, "--yaml"), "--yaml")
    assert run().code == 2


def test_python_m_export(
    run_any: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The module itself, as `make export` starts it; `run_any` restores the signal handler."""
    monkeypatch.setattr(sys, "argv", ["export", "--task", "deblurring"])
    monkeypatch.delitem(sys.modules, "export.cli")
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("export", run_name="__main__", alter_sys=True)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: unknown task 'deblurring'")


def _failing(error: BaseException) -> typer.Typer:
    program = typer.Typer(pretty_exceptions_enable=False)

    @program.command()
    def fail() -> None:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ElirError("of two\nlines: [bold]x[/y] :cat:"), 1, "of two lines: [bold]x[/y] :cat:"),
        (OSError(28, "No space left on device"), 1, "the system refused: No space left on device"),
        (PermissionError(13, "Permission denied", "a"), 1, "refused a: Permission denied"),
        (OSError("broken"), 1, "the system refused: broken"),
    ],
)
def test_failures_are_one_line(error: Exception, code: int, line: str, run_any: Run) -> None:
    assert_mistake(run_any(_failing(error)), code, line)


def test_an_interruption(run_any: Run) -> None:
    done = run_any(_failing(KeyboardInterrupt()))
    assert (done.code, done.err) == (130, "interrupted\n")


def test_an_interruption_while_modules_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "interrupted_module.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        start("interrupted_module")
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_is_imported_before_an_interruption_is_caught() -> None:
    """A light module: Python itself and nothing else, so that it takes no time."""
    code = "import sys; before = set(sys.modules); import elir_edge.start; "
    code += "print(sorted(n for n in set(sys.modules) - before if n in {'typer', 'rich', 'numpy'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_names_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "elir_edge", "info", str(tmp_path / "ünïcode")]
    done = subprocess.run(command, env=ascii_only, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "is not a bundle" in done.stderr
    assert "Traceback" not in done.stderr


_TERMINATED = """\
import pathlib, signal, sys, typer
from elir_edge.console import run_app

program = typer.Typer(pretty_exceptions_enable=False)
half = pathlib.Path(sys.argv.pop())

@program.command()
def work() -> None:
    half.touch()
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        half.rename(half.with_name("unwound"))

run_app(program)
"""


def test_a_termination_unwinds(tmp_path: Path) -> None:
    """SIGTERM must reach `finally`, where half-written files are removed.

    In a process of its own: libraries that other tests load may have handlers of theirs.
    """
    command = [sys.executable, "-c", _TERMINATED, str(tmp_path / "half")]
    assert subprocess.run(command, check=False).returncode == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["unwound"]


def test_a_mistake_of_ours_is_not_hidden(run_any: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a user can act on is turned into a line; the rest keeps its traceback."""
    monkeypatch.setattr(sys, "argv", ["elir-edge"])
    program: Any = _failing(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        run_app(program)
