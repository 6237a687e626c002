"""The C++ program: built on this machine, its pixels are Python's, its mistakes one line."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from elir_edge.runtime import Restorer
from export.plan import run_export
from export.request import Request
from tests.apps.comparing import same_pixels
from tests.tampering import change_manifest

pytestmark = pytest.mark.slow

MAX_STEP_OF_16_BITS = 2
"""Of 65535: the luminance of gray is summed in another order."""
_APP = Path(__file__).parents[2] / "apps" / "cpp"
_TILE = 128


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built program; what it needs is installed by its own script."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip("apps/cpp/setup.sh installs by apt-get, as root")
    work = tmp_path_factory.mktemp("cpp")
    prefix, build = work / "onnxruntime", work / "build"
    for command in (
        [str(_APP / "setup.sh"), str(prefix)],
        ["cmake", "-S", str(_APP), "-B", str(build), f"-DONNXRUNTIME_ROOT={prefix}"],
        ["cmake", "--build", str(build)],
    ):
        environment = {**os.environ, "PYTHON": sys.executable, "CXXFLAGS": "-Werror"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return build / "elir-restore"


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what exports the shipped weights of a task, once, in tiles of 128 pixels."""
    out, made = tmp_path_factory.mktemp("dist"), dict[str, Path]()

    def bundle(task: str) -> Path:
        if task not in made:
            request = Request(task=task, target="onnx", size=_TILE, out=out)
            made[task] = run_export(request).folder
        return made[task]

    return bundle


def _run(program: Path, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *map(str, arguments)],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _restored(program: Path, bundle: Path, photo: Path, *options: object) -> NDArray[Any]:
    result = photo.with_name("result.png")
    done = _run(program, photo.parent, "--bundle", bundle, photo, result, "--force", *options)
    assert done.returncode == 0, done.stderr
    return np.asarray(Image.open(result))


def _by_python(bundle: Path, photo: Path, **options: Any) -> NDArray[Any]:
    result = photo.with_name("expected.png")
    with Restorer(bundle, whole=options.pop("whole", False)) as restorer:
        restorer.restore_file(photo, result, **options)
    return np.asarray(Image.open(result))


@pytest.mark.parametrize(
    ("task", "width", "height"),
    [("denoising", 333, 250), ("denoising", 77, 129), ("sr", 45, 31), ("sr", 15, 40)],
)
def test_pixels_are_pythons(
    program: Path,
    shipped: Callable[[str], Path],
    photo: NDArray[np.uint8],
    tmp_path: Path,
    task: str,
    width: int,
    height: int,
) -> None:
    """At sizes that are no multiples of the tile, smaller and larger than it."""
    path = tmp_path / "photo.png"
    Image.fromarray(photo).resize((width, height)).save(path)
    same_pixels(_restored(program, shipped(task), path), _by_python(shipped(task), path))


def test_other_tiles_are_noticed(
    program: Path, shipped: Callable[[str], Path], photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The twin of the comparison above: tiles that overlap less are blended into other pixels."""
    path, other = tmp_path / "photo.png", tmp_path / "other"
    Image.fromarray(photo[:100, :240]).save(path)
    shutil.copytree(shipped("denoising"), other)
    change_manifest(other, lambda values: values["processing"].update(overlap=8))
    with pytest.raises(AssertionError, match="differ"):
        same_pixels(_restored(program, other, path), _by_python(shipped("denoising"), path))


_UPSCALED = {"upscale": 4, "upscale_filter": "bicubic", "overlap": 16}


def _form(kind: str, photo: NDArray[np.uint8], path: Path) -> None:
    """Write the photo in one of the forms that people have."""
    image = Image.fromarray(photo[:70, :91])
    if kind == "gray":
        image = image.convert("L")
    if kind == "transparent":
        image.putalpha(Image.fromarray(photo[:70, :91, 1]))
    if kind == "palette":
        image = image.quantize(64)
    if kind == "16 bits":
        image = Image.fromarray(photo[:70, :91, 0].astype(np.uint16) * 257)
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, "JPEG", quality=92, exif=exif)
    elif kind == "JPEG":
        image.save(path, "JPEG", quality=92)
    else:
        image.save(path, "PNG")


@pytest.mark.parametrize("processing", [{}, _UPSCALED], ids=["same size", "x4"])
@pytest.mark.parametrize(
    "kind", ["RGB", "gray", "transparent", "palette", "16 bits", "JPEG", "turned"]
)
def test_forms_of_photos(
    program: Path,
    tiny_bundle: Path,
    photo: NDArray[np.uint8],
    tmp_path: Path,
    kind: str,
    processing: dict[str, Any],
) -> None:
    bundle, path = tmp_path / "bundle", tmp_path / "photo"
    shutil.copytree(tiny_bundle, bundle)
    change_manifest(bundle, lambda values: values["processing"].update(processing))
    _form(kind, photo, path)
    got, expected = _restored(program, bundle, path), _by_python(bundle, path)
    if kind == "16 bits":
        assert got.dtype == expected.dtype == np.uint16
        assert np.abs(got.astype(int) - expected.astype(int)).max() <= MAX_STEP_OF_16_BITS
    else:
        same_pixels(got, expected)


@pytest.mark.parametrize(("width", "height"), [(100, 90), (50, 57)])
def test_a_face_in_one_resize(
    program: Path,
    tiny_bundle: Path,
    photo: NDArray[np.uint8],
    tmp_path: Path,
    width: int,
    height: int,
) -> None:
    bundle, path = tmp_path / "bundle", tmp_path / "photo.png"
    shutil.copytree(tiny_bundle, bundle)
    change_manifest(bundle, lambda values: values["processing"].update(fit="resize"))
    Image.fromarray(photo[:height, :width]).save(path)
    same_pixels(_restored(program, bundle, path), _by_python(bundle, path))


def test_what_is_missing_is_filled_in(
    program: Path, tiny_bundle: Path, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """By a mask and by transparency; all else stays as it is."""
    bundle, path, mask = tmp_path / "bundle", tmp_path / "photo.png", tmp_path / "mask.png"
    shutil.copytree(tiny_bundle, bundle)
    change_manifest(bundle, lambda values: values["identity"].update(task="inpainting"))
    holes = np.zeros((80, 70), np.uint8)
    holes[20:30, 10:60] = 255
    Image.fromarray(photo[:80, :70]).save(path)
    Image.fromarray(holes).save(mask)
    got = _restored(program, bundle, path, "--mask", mask)
    same_pixels(got, _by_python(bundle, path, mask=mask))
    assert (got == photo[:80, :70])[holes == 0].all()
    assert not (got == photo[:80, :70])[holes > 0].all()
    Image.fromarray(np.dstack([photo[:80, :70], 255 - holes])).save(path)
    same_pixels(_restored(program, bundle, path), _by_python(bundle, path))


def test_a_colour_profile_is_kept(
    program: Path, tiny_bundle: Path, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    path, profile = tmp_path / "photo.jpg", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    for result in (tmp_path / "result.png", tmp_path / "result.jpg"):
        Image.fromarray(photo[:40, :40]).save(path, icc_profile=profile.tobytes())
        done = _run(program, tmp_path, "--bundle", tiny_bundle, path, result)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert Image.open(result).info["icc_profile"] == profile.tobytes()


def test_a_damaged_colour_profile_is_left_out(
    program: Path, tiny_bundle: Path, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    path, result = tmp_path / "photo.jpg", tmp_path / "result.png"
    Image.fromarray(photo[:40, :40]).save(path, icc_profile=b"none" * 100)
    done = _run(program, tmp_path, "--bundle", tiny_bundle, path, result)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "warning: photo.jpg: the damaged colour profile is left out\n"
    assert "icc_profile" not in Image.open(result).info


def test_nothing_is_reported_or_left_behind(
    program: Path, tiny_bundle: Path, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """ONNX Runtime's wheels write a device id into the home folder, unless they are told not to."""
    home = tmp_path / "home"
    home.mkdir()
    path = tmp_path / "photo.png"
    Image.fromarray(photo[:40, :40]).save(path)
    done = _run(program, home, "--bundle", tiny_bundle, path, tmp_path / "result.png")
    assert done.returncode == 0, done.stderr
    assert not any(home.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "photo.png", "result.png"]


_MISTAKES = {
    "no bundle is named": (["photo.png", "out.png"], 2, "--bundle"),
    "one file": (["--bundle", "bundle", "photo.png"], 2, "1 files"),
    "an unknown option": (["--bundel", "bundle", "photo.png", "out.png"], 2, "--bundel"),
    "an option without value": (["photo.png", "out.png", "--bundle"], 2, "lacks its value"),
    "no number": (["--bundle", "bundle", "--threads", "x", "photo.png", "out.png"], 2, "'x'"),
    "the photo as result": (["--bundle", "bundle", "photo.png", "photo.png"], 2, "written over"),
    "a link to the photo": (["--bundle", "bundle", "photo.png", "link.png"], 2, "written over"),
    "a result that exists": (["--bundle", "bundle", "photo.png", "there.png"], 2, "--force"),
    "no such folder": (["--bundle", "bundle", "photo.png", "no/out.png"], 2, "no folder"),
    "an unknown suffix": (["--bundle", "bundle", "photo.png", "out.gif"], 2, "'.gif'"),
    "a mask for another task": (
        ["--bundle", "bundle", "--mask", "photo.png", "photo.png", "out.png"],
        2,
        "inpainting",
    ),
    "no bundle": (["--bundle", "no", "photo.png", "out.png"], 1, "not a bundle"),
    "no photo": (["--bundle", "bundle", "no.png", "out.png"], 1, "no image file"),
    "no image": (["--bundle", "bundle", "text.png", "out.png"], 1, "expected PNG or JPEG"),
    "half a PNG": (["--bundle", "bundle", "half.png", "out.png"], 1, "cannot be read"),
    "half a JPEG": (["--bundle", "bundle", "half.jpg", "out.png"], 1, "cannot be read"),
    "transparency in JPEG": (["--bundle", "bundle", "alpha.png", "out.jpg"], 1, "transparency"),
    "an altered model": (["--bundle", "altered", "photo.png", "out.png"], 1, "was altered"),
    "another manifest": (["--bundle", "changed", "photo.png", "out.png"], 1, "was altered"),
    "an unlisted file": (["--bundle", "surplus", "photo.png", "out.png"], 1, "not list"),
    "a file outside": (["--bundle", "outside", "photo.png", "out.png"], 1, "outside"),
    "another runtime": (["--bundle", "litert", "photo.png", "out.png"], 1, "onnxruntime"),
    "another schema": (["--bundle", "future", "photo.png", "out.png"], 1, "schema version"),
    "no field": (["--bundle", "lacking", "photo.png", "out.png"], 1, "malformed"),
}


@pytest.fixture(scope="module")
def mistaken(
    tiny_bundle: Path, photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a folder of photos and bundles, good and bad."""
    folder = tmp_path_factory.mktemp("mistakes")
    image = Image.fromarray(photo[:64, :80])
    for name in ("photo.png", "there.png", "half.jpg"):
        image.save(folder / name)
    (folder / "link.png").symlink_to("photo.png")
    image.convert("RGBA").save(folder / "alpha.png")
    (folder / "text.png").write_text("no image")
    for name, full in (("half.png", "photo.png"), ("half.jpg", "half.jpg")):
        content = (folder / full).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    for name in (
        "bundle",
        "altered",
        "changed",
        "surplus",
        "outside",
        "litert",
        "future",
        "lacking",
    ):
        shutil.copytree(tiny_bundle, folder / name)
    model = folder / "altered" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    manifest = folder / "changed" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    (folder / "surplus" / "notes.txt").write_text("mine")
    change_manifest(folder / "outside", lambda v: v["files"][0].update(path="../photo.png"))
    change_manifest(folder / "litert", lambda v: v["target"].update(backend="litert", runtimes={}))
    change_manifest(folder / "future", lambda v: v.update(schema_version=3))
    change_manifest(folder / "lacking", lambda v: v["processing"].pop("upscale"))
    return folder


@pytest.mark.parametrize("name", _MISTAKES)
def test_mistakes_are_one_line(
    program: Path, mistaken: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(mistaken)
    arguments, code, words = _MISTAKES[name]
    before = {path: path.read_bytes() for path in mistaken.rglob("*") if path.is_file()}
    done = _run(program, mistaken, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert "fix: " in done.stderr
    assert done.stdout == ""
    assert {path: path.read_bytes() for path in mistaken.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_nothing(
    program: Path, tiny_bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (4000, 4000), "gray").save(path)  # thousands of tiles
    command = [str(program), "--bundle", str(tiny_bundle), str(path), str(tmp_path / "out.png")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        time.sleep(0.5)
        running.send_signal(number)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 128 + number
    assert said in ("interrupted\n", "terminated\n")
    assert [each.name for each in tmp_path.iterdir()] == ["photo.png"]


def test_damaged_files_are_no_crash(program: Path, mistaken: Path, tmp_path: Path) -> None:
    """Bytes changed at random: a result or one line, never a signal."""
    generator = np.random.default_rng(0)
    formats = {"PNG": "photo.png", "JPEG": "damaged.jpg"}
    Image.open(mistaken / "photo.png").save(tmp_path / "damaged.jpg", quality=80)
    (tmp_path / "photo.png").write_bytes((mistaken / "photo.png").read_bytes())
    for name in formats.values():
        whole = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        for _ in range(20):
            content = whole.copy()
            content[generator.integers(0, len(content), 8)] ^= generator.integers(
                1, 256, 8, np.uint8
            )
            damaged = tmp_path / f"try-{name}"
            damaged.write_bytes(content.tobytes())
            done = _run(
                program,
                tmp_path,
                "--bundle",
                mistaken / "bundle",
                damaged,
                tmp_path / "out.png",
                "--force",
            )
            assert done.returncode in (0, 1), done.returncode
            if done.returncode == 1:
                assert done.stderr.startswith("error: ")
