"""Restore an archive on many cores or machines."""

from elir_edge.cli.restoring.models import Models
from elir_edge.console import console, counting_progress
from elir_edge.errors import UsageError

_NAMED = 20


def restore_archive_folder(
    source: str, target: str, models: Models, *, workers: int | None, address: str | None
) -> int:
    """Restore all photos below a folder by Ray, with a bar; return how many failed.

    Raises:
        UsageError: an option that is not for archives.
        ArchiveError: Ray is missing, or the storage or cluster fails.
    """
    from elir_edge.runtime.archive import restore_archive

    if models.faces or models.whole or models.threads is not None:
        raise UsageError(
            "--faces, --whole and --threads are not for --engine ray",
            fix="leave them out: each worker has one thread, --workers says how many there are",
        )
    with counting_progress() as progress:
        photos = progress.add_task("photos", total=None)
        result = restore_archive(
            source,
            target,
            task=models.task,
            bundle=models.bundle,
            seed=models.seed,
            runtime=models.runtime,
            workers=workers,
            address=address,
            progress=lambda done, total: progress.update(photos, completed=done, total=total),
        )
    for entry in result.failed[:_NAMED]:
        line = f"failed: {entry.photo}: {entry.reason}"
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if len(result.failed) > _NAMED:
        print(f"... and {len(result.failed) - _NAMED} more: the ledger names them")
    rate = (result.done + len(result.failed)) / result.seconds if result.seconds else 0.0
    before = f", {result.before} by earlier runs" if result.before else ""
    print(
        f"restored {result.done}, failed {len(result.failed)}{before}, into {target}: "
        f"{rate:.1f} photos per second on {result.workers} workers; the ledger is in _ledger"
    )
    return len(result.failed)
