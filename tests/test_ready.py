"""Ready bundles: found by task, made of the code and checkpoints as they are."""

from importlib import resources
from pathlib import Path

import pytest

from elir_edge.cli.app import app
from elir_edge.errors import BundleError, UsageError
from elir_edge.runtime import ready_bundle
from export import freshness
from tests.conftest import Run


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that stands for the package of weights."""
    monkeypatch.setattr(resources, "files", lambda name: tmp_path)
    return tmp_path


def test_a_ready_bundle_is_found_by_its_task(weights: Path) -> None:
    for name in ("sr-nano-onnx-fp16", "bsr-nano-onnx-fp16"):
        (weights / "ready" / name).mkdir(parents=True)
    assert ready_bundle("sr") == weights / "ready" / "sr-nano-onnx-fp16"
    assert ready_bundle("bsr") == weights / "ready" / "bsr-nano-onnx-fp16"
    with pytest.raises(BundleError, match=r"no ready bundle of 'bfr' .*make bundles.*--bundle"):
        ready_bundle("bfr")
    with pytest.raises(UsageError, match="unknown task 'deblurring'"):
        ready_bundle("deblurring")


def test_an_installation_without_them(weights: Path) -> None:
    with pytest.raises(BundleError, match="no ready bundle of 'sr'"):
        ready_bundle("sr")


def test_restore_asks_for_one_of_both(run_any: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    for options, message in (
        ((), "expected either --task or --bundle"),
        (("--task", "sr", "--bundle", tiny_bundle), "contradict each other; fix: pass one"),
    ):
        done = run_any(app, "restore", tmp_path, target, *options)
        assert done.code == 2
        assert message in done.err


def test_bundles_are_made_anew_when_code_or_weights_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "checkout"
    files = ("elir_edge/a.py", "export/deep/b.py", "elir_edge/weights/sr-nano.safetensors")
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("first")
    monkeypatch.setattr(freshness, "ROOT", root)
    made = tmp_path / "ready"
    made.mkdir()
    assert not freshness.is_fresh(made)
    freshness.record(made)
    assert freshness.is_fresh(made)
    for name in files:
        (root / name).write_text("other")
        assert not freshness.is_fresh(made), name
        (root / name).write_text("first")
    assert freshness.is_fresh(made)
    (root / "export" / "new.py").touch()
    assert not freshness.is_fresh(made)


def test_bundles_stay_fresh_when_only_comments_docstrings_or_layout_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, made = tmp_path / "checkout", tmp_path / "ready"
    module = root / "export" / "a.py"
    module.parent.mkdir(parents=True)
    made.mkdir()
    monkeypatch.setattr(freshness, "ROOT", root)
    module.write_text('def half(x):\n    """Halve."""\n    return x / 2\n\nLIMIT = "a"\n')
    freshness.record(made)
    module.write_text(
        '"""A module."""\ndef half(x):\n  # why\n  """It halves."""\n\n  return x / 2\n'
        'LIMIT = "a"\n'
    )
    assert freshness.is_fresh(made)
    for other in (
        'def half(x):\n    return x / 3\n\nLIMIT = "a"\n',  # a number
        'def half(x):\n    return x / 2\n\nLIMIT = "b"\n',  # a string that is no docstring
        'def half(x):\n    return x / 2\n    LIMIT = "a"\n',  # an indentation
    ):
        module.write_text(other)
        assert not freshness.is_fresh(made), other


def test_asking_needs_the_standard_library_alone() -> None:
    """The build of the wheel asks before anything is installed."""
    import subprocess
    import sys

    code = (
        "import sys; import export.freshness; print({'numpy', 'typer', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
