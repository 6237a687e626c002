"""The two Python environments of the sensor's tools, created on first use and kept.

The quantizer (MCT) and the converter need versions that conflict with ours and with each other.
Each environment has a complete list of packages (`*.lock`). The quantizer's environment is a layer
on top of the running one and shares its torch, since it must load files that this torch saved.
"""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from elir_edge.errors import ExportError
from elir_edge.files import cache_folder, replacing_folder

_HERE = Path(__file__).resolve().parent
ROOT = _HERE.parents[2]
QUANTIZER, CONVERTER = "quantizer", "converter"
_STAMP = "complete"

CommandRunner = Callable[[Sequence[str]], None]


def environment(name: str, report: Callable[[str], None], run: CommandRunner | None = None) -> Path:
    """Return the folder of an environment, which is created if it does not exist yet.

    Environments are kept in `$ELIR_EDGE_CACHE`, by default `~/.cache/elir-edge`. Their names depend
    on the lock, the Python version and, for a layer, the environment below.

    Args:
        name: `quantizer` or `converter`.
        report: called with a line if the environment must be created.
        run: runs a command; None: as a subprocess.

    Raises:
        ExportError: the environment cannot be created; no partial environment is left.
    """
    lock = lock_of(name)
    below = sysconfig.get_paths()["purelib"] if name == QUANTIZER else ""
    key = hashlib.sha256(f"{sys.version_info[:2]} {below}\n".encode() + lock.read_bytes())
    folder = _cache() / f"{name}-{key.hexdigest()[:12]}"
    if (folder / _STAMP).is_file():
        return folder
    report(f"installing the {name} (first use)")
    with replacing_folder(folder) as making:
        _make(making, folder, lock, below, run or _run)
    return folder


def locked_version(name: str, package: str) -> str:
    """Return the version of a package in the lock of the environment `name`."""
    return locked_versions(lock_of(name))[package]


def lock_of(name: str) -> Path:
    """Return the path of the lock of the environment `name`."""
    return _HERE / f"{name}.lock"


def locked_versions(lock: Path) -> dict[str, str]:
    """Return the versions of all packages in a lock, by their names."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def require_java() -> None:
    """Require Java, which parts of the converter need.

    Raises:
        ExportError: Java is not installed.
    """
    if shutil.which("java") is None:
        raise ExportError(
            "the IMX500 converter needs Java, and there is no `java` on the PATH",
            expected="Java 17 or newer",
            fix="install one, e.g. `apt install openjdk-17-jre-headless`",
        )


def _cache() -> Path:
    return cache_folder("imx500").resolve()


def _make(making: Path, folder: Path, lock: Path, below: str, run: CommandRunner) -> None:
    run([sys.executable, "-m", "venv", str(making)])
    if below:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        layer = making / "lib" / version / "site-packages" / "below.pth"
        layer.parent.mkdir(parents=True, exist_ok=True)
        layer.write_text(below + "\n", encoding="utf-8")
    pip = [str(making / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    # The locks are complete, so pip need not (and for a layer must not) resolve dependencies.
    run([*pip, "--disable-pip-version-check", "--no-deps", "--requirement", str(lock)])
    # Scripts contain the path of their interpreter, which changes when the folder is renamed.
    for script in (making / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes()
            script.write_bytes(content.replace(str(making).encode(), str(folder).encode()))
    (making / _STAMP).touch()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ExportError(
            "an environment for the IMX500 tools could not be installed",
            got="; ".join(lines[-2:]) or done.stderr.strip()[-300:],
            fix="check the network and the free disk space, then export again",
        )
