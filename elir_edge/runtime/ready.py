"""The bundles that come with the wheel, one for each task."""

from importlib import resources
from pathlib import Path

from elir_edge.errors import BundleError
from elir_edge.tasks import get_task

_PACKAGE = "elir_edge.weights"
FOLDER = "ready"


def ready_bundle(task: str) -> Path:
    """Return the folder of a task's ready bundle.

    Raises:
        UsageError: there is no such task.
        BundleError: this installation has no bundle of the task; in a checkout, `make bundles`
            makes them.
    """
    name = get_task(task).name
    folder = Path(str(resources.files(_PACKAGE) / FOLDER))
    found = sorted(folder.glob(f"{name}-*")) if folder.is_dir() else []
    if not found:
        raise BundleError(
            f"no ready bundle of {name!r} is installed",
            fix="in a checkout: `make bundles`, or make one with `make export` and pass --bundle",
        )
    return found[0]
