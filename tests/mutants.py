"""Mutation testing: does the fast suite notice small wrong changes of the code? (`make mutants`).

    python tests/mutants.py run --minutes 60              every package its share of the hour
    python tests/mutants.py run --packages flow,parity    until all their mutants were tried
    python tests/mutants.py run --at dedb0be              the tree of another commit
    python tests/mutants.py report --out benchmarks/results/mutants.json

Mutants are made by cosmic-ray in a copy of the checkout below `build/mutants`, one at a time and in
an order that is random but always the same, and each meets the tests that mirror its package, up to
the first that fails, and first those that run its lines. Tests marked slow, and those that need
minutes of exporting first, are left out, so that a score is a lower bound. What a run has found is
kept: the next one goes on, tries survivors again where tests have changed, and starts over only
with the modules that have changed themselves. A score over some of the mutants comes with its 95 %
interval (Wilson's).

Mutants that change nothing are listed with the reason in `mutants_equivalent.json`: by module (`*`
stands for any characters) and changed lines, or by a regular expression that these match.
"""

import fnmatch
import hashlib
import io
import json
import math
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from elir_edge.console import console, run_app
from elir_edge.errors import ElirError, UsageError
from elir_edge.files import write_json
from tests.mutant_order import place_of

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "mutants"
RUNNER = Path(__file__).with_name("mutant_runner.py")
RECORDER = Path(__file__).with_name("mutant_coverage.py")
_STYLE = "tests/test_style.py"
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.json")
_SKIPPED = (
    # One replacement for each operator is enough: the others die of the same tests.
    r"core/ReplaceBinaryOperator_Add_(?!Sub$)",
    r"core/ReplaceBinaryOperator_Sub_(?!Add$)",
    r"core/ReplaceBinaryOperator_Mul_(?!Div$)",
    r"core/ReplaceBinaryOperator_Div_(?!Mul$)",
    r"core/ReplaceBinaryOperator_FloorDiv_(?!Mul$)",
    r"core/ReplaceBinaryOperator_Mod_(?!Mul$)",
    r"core/ReplaceBinaryOperator_Pow_(?!Mul$)",
    r"core/ReplaceBinaryOperator_(LShift|RShift)_(?!Add$)",
    # `|` and `&` join types and sets.
    r"core/ReplaceBinaryOperator_Bit",
    r"core/ReplaceComparisonOperator_Lt_(?!LtE$|GtE$)",
    r"core/ReplaceComparisonOperator_LtE_(?!Lt$|Gt$)",
    r"core/ReplaceComparisonOperator_Gt_(?!GtE$|LtE$)",
    r"core/ReplaceComparisonOperator_GtE_(?!Gt$|Lt$)",
    r"core/ReplaceComparisonOperator_Eq_(?!NotEq$)",
    r"core/ReplaceComparisonOperator_NotEq_(?!Eq$)",
    r"core/ReplaceComparisonOperator_Is_(?!IsNot$)",
    r"core/ReplaceComparisonOperator_IsNot_(?!Is$)",
    r"core/Variable",
    # Of `abstractmethod`, `override`, `cached` and dataclasses: most change nothing or everything.
    r"core/RemoveDecorator",
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """What is mutated together, and the tests that must notice.

    Attributes:
        left_out: tests that are too slow to run for every mutant, as pytest's `--deselect` takes
            them.
        without: modules that are not mutated: what they need is not installed by the tests.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def _left_out(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"{file}::{test}" for test in tests)


PACKAGES = {
    package.name: package
    for package in (
        Package(name="flow", modules=("elir_edge/flow",), tests=("tests/flow",)),
        Package(name="model", modules=("elir_edge/model",), tests=("tests/model",)),
        Package(name="data", modules=("elir_edge/data",), tests=("tests/data",)),
        Package(
            name="train",
            modules=("elir_edge/train",),
            tests=("tests/train",),
            left_out=("tests/train/test_stopping.py",),
        ),
        Package(name="runtime", modules=("elir_edge/runtime",), tests=("tests/runtime",)),
        Package(
            name="checkpoint",
            modules=("elir_edge/checkpoints/own.py", "elir_edge/checkpoints/published.py"),
            tests=("tests/checkpoints/test_own.py",),
        ),
        Package(
            name="metrics",
            modules=(
                "elir_edge/metrics.py",
                "elir_edge/niqe.py",
                "elir_edge/evaluation/file_metrics.py",
                "elir_edge/metric_weights.py",
                "elir_edge/metric_table.py",
            ),
            tests=(
                "tests/test_metrics.py",
                "tests/test_niqe.py",
                "tests/evaluation/test_file_metrics.py",
                "tests/test_metric_table.py",
            ),
        ),
        Package(
            name="int8",
            modules=("export/int8", "export/qdq", "export/calibration"),
            tests=("tests/export/int8", "tests/export/qdq", "tests/export/calibration"),
            left_out=_left_out(
                "tests/export/qdq/test_quantize.py",
                "test_the_bundle_says_how_it_was_made",
                "test_both_runtimes_give_nearly_the_same",
                "test_a_second_export_is_the_same_and_searches_nothing",
                "test_a_missed_gate_leaves_nothing",
            ),
        ),
        Package(
            name="rewrites",
            modules=("export/static",),
            tests=("tests/export/static",),
        ),
        Package(
            name="parity",
            modules=("export/parity.py", "export/verify.py"),
            tests=("tests/export/test_parity.py", "tests/export/test_gates.py"),
        ),
        Package(
            name="targets",
            modules=("export/targets",),
            without=("export/targets/imx500/mct.py",),
            tests=("tests/export/targets",),
            left_out=(
                *_left_out(
                    "tests/export/targets/tflite/test_tflite.py",
                    "test_published_form_needs_no_layout_operation",
                    "test_a_missed_gate_leaves_nothing",
                    "test_fp16_halves_the_file",
                ),
                *_left_out(
                    "tests/export/targets/tensorrt/test_tensorrt.py", "test_int8_for_ampere"
                ),
            ),
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """A copy of tracked files, where mutants are put in place, and what was found there.

    Attributes:
        commit: whose files; the checkout's, as they are now, without one.
    """

    commit: str | None = None

    @property
    def folder(self) -> Path:
        """Where sessions are kept."""
        return BUILD / (self.commit or "checkout")

    @property
    def tree(self) -> Path:
        """The copy."""
        return self.folder / "tree"

    def session(self, package: Package) -> Path:
        """Return cosmic-ray's database of a package."""
        return self.folder / f"{package.name}.sqlite"

    def record(self, package: Package) -> Path:
        """Return the file that says which tests run which lines of a package."""
        return self.folder / f"{package.name}.record.json"

    def lay_out(self) -> None:
        """Copy the tracked files anew: mutants never touch the checkout."""
        shutil.rmtree(self.tree, ignore_errors=True)
        self.tree.mkdir(parents=True)
        if self.commit is not None:
            packed = _git("archive", "--format=tar", self.commit)
            with tarfile.open(fileobj=io.BytesIO(packed)) as files:
                files.extractall(self.tree, filter="data")
            return
        for name in filter(None, _git("ls-files", "-z").decode().split("\0")):
            source, target = ROOT / name, self.tree / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def present(self, paths: Sequence[str]) -> list[str]:
        """Return those of the paths that this tree has."""
        return [path for path in paths if (self.tree / path).exists()]

    def hashes(self, paths: Sequence[str]) -> dict[str, str]:
        """Return the SHA-256 of every Python file below the paths."""
        return {
            str(file.relative_to(self.tree)): hashlib.sha256(file.read_bytes()).hexdigest()
            for path in self.present(paths)
            for file in _python_files(self.tree / path)
        }


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _commit(at: str | None) -> str | None:
    """Return a commit's hash, which names its folder: what else stands there might be deleted.

    Raises:
        UsageError: there is no such commit.
    """
    if at is None:
        return None
    try:
        found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{at}^{{commit}}")
    except ElirError as error:
        raise UsageError(f"no commit {at!r}", fix="see git log") from error
    return found.decode().strip()


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise ElirError(f"git {arguments[0]} failed", got=done.stderr.decode().strip())
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Survivor:
    """A mutant that no test noticed."""

    module: str
    line: int
    operator: str
    diff: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is known of a package.

    Attributes:
        mutants: how many there are.
        tried: of these.
        killed: of those that were tried.
        survivors: the others; those with a reason change nothing and do not count.
    """

    package: str
    mutants: int
    tried: int
    killed: int
    survivors: list[Survivor] = field(default_factory=list)

    @property
    def counted(self) -> int:
        """How many were tried that change something."""
        return self.tried - sum(survivor.reason is not None for survivor in self.survivors)

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the share that is killed."""
        n, z = self.counted, 1.96
        if not n:
            return 0.0, 1.0
        share = self.killed / n
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, centre - half), min(1.0, centre + half)


_ALL = ",".join(PACKAGES)
_PACKAGES = Annotated[str, typer.Option(help="Comma-separated.")]
_AT = Annotated[str | None, typer.Option(help="A commit; default: the checkout as it is now.")]


@app.command()
def run(
    minutes: Annotated[
        float | None, typer.Option(min=1, help="Over all packages; default: until all were tried.")
    ] = None,
    packages: _PACKAGES = _ALL,
    at: _AT = None,
) -> None:
    """Try mutants, then print the scores."""
    _require_cosmic_ray()
    chosen = _parse(packages)
    place = Workplace(commit=_commit(at))
    place.lay_out()
    for index, package in enumerate(chosen):
        share = None if minutes is None else 60 * minutes / len(chosen)
        console.print(f"{package.name} ({index + 1} of {len(chosen)}): {', '.join(package.tests)}")
        _try_mutants(place, package, share)
    _show([_score(place, package) for package in chosen])


@app.command()
def report(
    packages: _PACKAGES = _ALL,
    out: Annotated[Path | None, typer.Option(help="Write the scores as JSON.")] = None,
    at: _AT = None,
) -> None:
    """Print what runs have found: scores, and every survivor."""
    _require_cosmic_ray()
    place = Workplace(commit=_commit(at))
    scores = [
        _score(place, package) for package in _parse(packages) if place.session(package).exists()
    ]
    _show(scores)
    for score in scores:
        for survivor in score.survivors:
            if survivor.reason is None:
                where = f"{survivor.module}:{survivor.line} {survivor.operator}"
                console.print(f"\n{where}\n{survivor.diff}", markup=False, highlight=False)
    if out is not None:
        head = _git("rev-parse", "--short", place.commit or "HEAD").decode().strip()
        made = {"command": "make mutants", "date": date.today().isoformat(), "commit": head}
        write_json(out, {**made, "packages": _as_json(scores)})


def _require_cosmic_ray() -> None:
    try:
        import cosmic_ray  # noqa: F401
    except ModuleNotFoundError as error:
        raise ElirError(
            "mutation testing needs cosmic-ray", fix="use `make mutants`, which installs it"
        ) from error


def _parse(text: str) -> list[Package]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in PACKAGES]
    if unknown:
        raise UsageError(
            f"unknown packages {', '.join(unknown)}", expected=f"some of {', '.join(PACKAGES)}"
        )
    return [PACKAGES[name] for name in names]


def _try_mutants(place: Workplace, package: Package, seconds: float | None) -> None:
    began = time.monotonic()
    _record_tests(place, package)
    _begin(place, package)
    left = math.inf if seconds is None else max(1.0, seconds - (time.monotonic() - began))
    command = [sys.executable, RUNNER, place.session(package), place.record(package), left]
    done = subprocess.run(
        [*map(str, command), *_pytest_options(place, package)], cwd=place.tree, check=False
    )
    place.lay_out()  # a mutant may still be in place
    if done.returncode:
        raise ElirError(f"trying mutants of {package.name} ended with code {done.returncode}")


def _pytest_options(place: Workplace, package: Package) -> list[str]:
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    for name in package.left_out:
        options.append(f"--deselect={name}")
    return [*options, *place.present([*package.tests, _STYLE])]


def _record_tests(place: Workplace, package: Package) -> None:
    """Run the tests without a mutant; note their seconds, and which run which lines."""
    modules = place.present(package.modules)
    command = [sys.executable, RECORDER, place.record(package), *modules, "--"]
    done = subprocess.run(
        [*map(str, command), *_pytest_options(place, package)],
        cwd=place.tree,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:]
        raise ElirError(f"the tests of {package.name} fail without a mutant", got=" ".join(last))


def _config(place: Workplace, package: Package) -> str:
    def listed(values: Sequence[str]) -> str:
        return "[" + ", ".join(json.dumps(value) for value in values) + "]"

    return "\n".join(
        [
            "[cosmic-ray]",
            f"module-path = {listed(place.present(package.modules))}",
            "timeout = 1",  # the runner has its own
            f"excluded-modules = {listed(package.without)}",
            'test-command = "pytest"',
            "[cosmic-ray.distributor]",
            'name = "local"',
            "[cosmic-ray.filters.operators-filter]",
            f"exclude-operators = {listed(_SKIPPED)}",
            "",
        ]
    )


def _begin(place: Workplace, package: Package) -> None:
    """Make a session, with the results of the last one that still hold."""
    session, notes = place.session(package), place.folder / f"{package.name}.json"
    now = {
        "modules": place.hashes(package.modules),
        "tests": place.hashes([*package.tests, _STYLE, "tests/conftest.py"]),
    }
    before: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {}
    if session.exists() and before == now:
        return
    old = session.with_suffix(".old")
    if session.exists():
        session.replace(old)
    config = session.with_suffix(".toml")
    config.write_text(_config(place, package))
    for command in (
        ["cosmic_ray.cli", "init", config, session],
        ["cosmic_ray.tools.filters.operators_filter", session, config],
    ):
        subprocess.run([sys.executable, "-m", *command], cwd=place.tree, check=True)
    if old.exists():
        same = {
            name
            for name, found in now["modules"].items()
            if before.get("modules", {}).get(name) == found
        }
        _carry_over(old, session, same, survivors=before.get("tests") == now["tests"])
        old.unlink()
    notes.write_text(json.dumps(now))


def _carry_over(old: Path, new: Path, modules: set[str], *, survivors: bool) -> None:
    """Take over the results of modules that are the same; of survivors only if the tests are."""
    from cosmic_ray.work_db import use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome

    def key(item: Any) -> tuple[str, str, int, str]:
        (mutation,) = item.mutations
        arguments = json.dumps(mutation.operator_args, sort_keys=True)
        return (
            str(mutation.module_path),
            mutation.operator_name,
            mutation.occurrence,
            arguments,
        )

    with use_db(old) as database:
        known = {
            key(item): result
            for item, result in database.completed_work_items
            if result.worker_outcome != WorkerOutcome.SKIPPED
            and (survivors or result.test_outcome != TestOutcome.SURVIVED)
        }
    with use_db(new) as database:
        for item in database.pending_work_items:
            result = known.get(key(item))
            if result is not None and str(item.mutations[0].module_path) in modules:
                database.set_result(item.job_id, result)


def _score(place: Workplace, package: Package) -> Score:
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome

    with use_db(place.session(package), WorkDB.Mode.open) as database:
        found = {
            item.job_id: (item, result)
            for item, result in database.completed_work_items
            if result.worker_outcome != WorkerOutcome.SKIPPED
        }
        pending = sorted(map(place_of, database.pending_work_items))
    # What stands behind the first pending one is left out: killed mutants are carried over from
    # earlier runs, survivors wait to be tried again, so that the share would be too high.
    reached = [each for each in found.values() if not pending or place_of(each[0]) < pending[0]]
    survivors = []
    equivalents = _equivalents()
    for item, result in reached:
        if result.test_outcome == TestOutcome.SURVIVED:
            (mutation,) = item.mutations
            diff = _changed_lines(result.diff or "")
            module = str(mutation.module_path)
            survivors.append(
                Survivor(
                    module=module,
                    line=mutation.start_pos[0],
                    operator=mutation.operator_name,
                    diff=diff,
                    reason=_reason(equivalents, module, diff),
                )
            )
    return Score(
        package=package.name,
        mutants=len(found) + len(pending),
        tried=len(reached),
        killed=len(reached) - len(survivors),
        survivors=sorted(survivors, key=lambda each: (each.module, each.line)),
    )


@dataclass(frozen=True, kw_only=True)
class _Equivalent:
    """Mutants that change nothing; `diff` or `pattern` is given."""

    module: str
    reason: str
    diff: str | None = None
    pattern: str | None = None

    def matches(self, module: str, diff: str) -> bool:
        if not fnmatch.fnmatchcase(module, self.module):
            return False
        if self.pattern is not None:
            return re.fullmatch(self.pattern, diff, re.DOTALL) is not None
        return diff == self.diff


def _equivalents() -> list[_Equivalent]:
    if not EQUIVALENT.exists():
        return []
    return [_Equivalent(**each) for each in json.loads(EQUIVALENT.read_text(encoding="utf-8"))]


def _reason(equivalents: Sequence[_Equivalent], module: str, diff: str) -> str | None:
    """Return why a mutant changes nothing; None: it changes something."""
    return next((each.reason for each in equivalents if each.matches(module, diff)), None)


def _changed_lines(diff: str) -> str:
    lines = [line.rstrip() for line in diff.splitlines()]
    return "\n".join(
        line for line in lines if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")
    )


def _show(scores: Sequence[Score]) -> None:
    table = Table("package", "mutants", "tried", "killed", "share", "95 %", title="mutants")
    for score in scores:
        low, high = score.interval()
        share = f"{score.killed / score.counted:.0%}" if score.counted else ""
        table.add_row(
            score.package,
            str(score.mutants),
            str(score.tried),
            str(score.killed),
            share,
            f"{low:.0%} to {high:.0%}",
        )
    console.print(table)


def _as_json(scores: Sequence[Score]) -> dict[str, Any]:
    return {
        score.package: {
            "mutants": score.mutants,
            "tried": score.tried,
            "killed": score.killed,
            "equivalent": score.tried - score.counted,
            "share": round(score.killed / score.counted, 3) if score.counted else None,
            "interval": [round(bound, 3) for bound in score.interval()],
            "survivors": [
                {"module": s.module, "line": s.line, "operator": s.operator, "diff": s.diff}
                for s in score.survivors
                if s.reason is None
            ],
        }
        for score in scores
    }


if __name__ == "__main__":
    run_app(app)
