"""The speed benchmark on another machine, by ssh: bundles and runner are pushed, JSON is pulled.

The other machine needs a shell, tar, and a Python 3.11 or newer with numpy, Pillow and the
runtimes that are to be measured. Nothing is installed there; what was pushed is removed.
"""

import contextlib
import io
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.devices.address import SshAddress
from benchmarks.devices.cleanup import removing
from benchmarks.speed.turns import PLAN, RESULT, Told, TurnPlan, read_result, write_plan
from elir_edge.errors import ElirError

ROOT = Path(__file__).resolve().parents[2]
_RUNNER = ("benchmarks/speed/turns.py", "benchmarks/speed/worker.py")
_RUNNER_MODULE = "benchmarks.speed.turns"
_NEEDED = ("numpy", "PIL")
_PROBE = f"""
import importlib.util, sys
missing = [name for name in {_NEEDED!r} if importlib.util.find_spec(name) is None]
sys.exit("Python %d.%d is too old" % sys.version_info[:2] if sys.version_info < (3, 11)
         else "Python there lacks " + ", ".join(missing) if missing else 0)
"""
_SSH_FAILED = 255
_Process = subprocess.Popen[bytes]


class SshDevice:
    """A machine that takes ssh with a key, without a password.

    Args:
        address: of the machine.
        config: a configuration for ssh, instead of the user's; None: the user's.
        python: Python there, a name or a path.
    """

    def __init__(
        self, address: SshAddress, *, config: Path | None = None, python: str = "python3"
    ) -> None:
        self.address = address
        self._python = python
        options = ["-o", "BatchMode=yes"]
        if config is not None:
            options += ["-F", str(config)]
        if address.port is not None:
            options += ["-p", str(address.port)]
        self._ssh = ["ssh", *options, "-l", address.user, address.host]

    def check(self) -> None:
        """Require that the machine answers and has what the runner needs.

        Raises:
            ElirError: there is no ssh, no answer, or something is missing there.
        """
        if shutil.which("ssh") is None:
            raise ElirError("ssh is not installed", fix="apt-get install openssh-client")
        self._run([self._python, "-c", _PROBE])

    def measure(
        self,
        folder: Path,
        names: Sequence[str],
        plan: TurnPlan,
        told: Told = lambda *news: None,
    ) -> dict[str, Any]:
        """Push parts of a folder and the runner, measure there, and pull the result.

        Args:
            folder: results are put into it.
            names: of the folders within it that hold the plan's bundles and photos.
            plan: of bundles only.
            told: called as the measurement goes on, without times.

        Returns:
            What `measure_folder` wrote there.

        Raises:
            ElirError: the machine or its runner failed.
        """
        write_plan(folder, plan)
        with self._temporary() as there:
            self._push([*(folder / name for name in names), folder / PLAN], there)
            self._run_runner(there, told)
            self._pull(there, folder)
        return read_result(folder)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[str]:
        """Make a folder there, and remove it in the end."""
        said = self._run(["mktemp", "-d"]).decode(errors="replace").splitlines()
        there = said[-1] if said else ""
        if not there.startswith("/"):
            raise ElirError(f"{self.address}: mktemp made no folder", got=there or "nothing")
        with removing(lambda: self._run(["rm", "-rf", there])):
            yield there

    def _push(self, paths: Sequence[Path], there: str) -> None:
        """Send files and folders, and the parts of this checkout that need no torch."""
        sources = sorted((ROOT / "elir_edge").rglob("*.py"))
        command = ["tar", "-xf", "-", "-C", there]
        with (
            self._started(command, "push", stdin=subprocess.PIPE) as process,
            contextlib.suppress(BrokenPipeError),  # tar there has failed, and says why
        ):
            assert process.stdin is not None
            with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
                for path in (*sources, *(ROOT / name for name in _RUNNER)):
                    archive.add(path, str(path.relative_to(ROOT)), filter=_plain)
                for path in paths:
                    archive.add(path, path.name, filter=_plain)

    def _run_runner(self, there: str, told: Told) -> None:
        command = ["env", f"PYTHONPATH={there}", self._python, "-P", "-m", _RUNNER_MODULE, there]
        with self._started(command, "the runner") as process:
            assert process.stdout is not None
            for line in process.stdout:
                _relay(line.decode(errors="replace"), told)

    def _pull(self, there: str, folder: Path) -> None:
        """Fetch the result and the outputs; of others' names in the archive none is taken."""
        shown = self._run(["ls", there]).decode().splitlines()
        wanted = [name for name in shown if name == RESULT or name.startswith("outputs-")]
        if RESULT not in wanted:
            raise ElirError(f"{self.address}: the runner left no result")
        content = self._run(["tar", "-cf", "-", "-C", there, *wanted])
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive.getmembers():
                data = archive.extractfile(member) if member.name in wanted else None
                if data is not None and "/" not in member.name:
                    (folder / member.name).write_bytes(data.read())

    @contextlib.contextmanager
    def _started(
        self, command: Sequence[str], what: str, *, stdin: int = subprocess.DEVNULL
    ) -> Iterator[_Process]:
        """Start a command there, whose standard output the caller reads, and wait for its end.

        Its messages go to a file: a pipe that nobody reads would be full at some time.
        """
        with tempfile.TemporaryFile() as messages:
            process = subprocess.Popen(
                [*self._ssh, shlex.join(command)],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=messages,
            )
            try:
                yield process
            except BaseException:
                process.kill()
                process.communicate()
                raise
            process.communicate()
            messages.seek(0)
            self._require_success(process.returncode, what, messages.read())

    def _run(self, command: Sequence[str]) -> bytes:
        with self._started(command, command[0]) as process:
            assert process.stdout is not None
            return process.stdout.read()

    def _require_success(self, code: int, what: str, messages: bytes) -> None:
        if code:
            lines = messages.decode(errors="replace").strip().splitlines()
            raise ElirError(
                f"{self.address}: {Path(what).name} failed",
                got=lines[-1] if lines else f"exit code {code}",
                fix="try `ssh` to it by hand: it must take a key without asking"
                if code == _SSH_FAILED
                else None,
            )


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out caches; who owns a file here means nothing there."""
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _relay(line: str, told: Told) -> None:
    """Tell a line of the runner's progress, `images: 10 of 200`."""
    phase, _, numbers = line.strip().partition(": ")
    done, _, total = numbers.partition(" of ")
    if done.isdigit() and total.isdigit():
        told(phase, int(done), int(total), {})
