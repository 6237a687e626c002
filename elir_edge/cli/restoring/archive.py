"""Restore an archive on many cores or machines."""

from elir_edge.cli.restoring.models import Models
from elir_edge.console import console, counting_progress
from elir_edge.errors import UsageError

_NAMED, _LISTED = 20, 5


def restore_archive_folder(
    source: str, target: str, models: Models, *, workers: int | None, address: str | None
) -> int:
    """Restore all photos below a folder by Ray, with a bar; return how many failed.

    Raises:
        UsageError: an option that is not for archives.
        ArchiveError: Ray is missing, or the storage, a machine or the cluster fails.
    """
    from elir_edge.runtime.archive import restore_archive

    if models.faces or models.whole or models.threads is not None:
        raise UsageError(
            "--faces, --whole and --threads are not for --engine ray",
            fix="leave them out: each worker has one thread, --workers says how many there are",
        )
    with counting_progress() as progress:
        task = progress.add_task("photos", total=None)
        result = restore_archive(
            source,
            target,
            task=models.task,
            bundle=models.bundle,
            seed=models.seed,
            runtime=models.runtime,
            workers=workers,
            address=address,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if result.others:
        names = ", ".join(result.others[:_LISTED]) + (", ..." if result.others[_LISTED:] else "")
        line = f"skipped {len(result.others)} (no image): {names}"
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    for entry in result.failed[:_NAMED]:
        line = f"failed: {entry.photo}: {entry.reason}"
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if len(result.failed) > _NAMED:
        print(f"... and {len(result.failed) - _NAMED} more: the ledger names them")
    before = f", {result.before} by earlier runs" if result.before else ""
    if result.failed_before:
        before += f" (of which {result.failed_before} failed)"
    rate = ""
    if result.workers and result.seconds:
        photos_per_second = (result.done + len(result.failed)) / result.seconds
        rate = f": {photos_per_second:.1f} photos per second on {result.workers} workers"
    print(
        f"restored {result.done}, failed {len(result.failed)}{before}, into {target}{rate}; "
        "the ledger is in _ledger"
    )
    return len(result.failed)
