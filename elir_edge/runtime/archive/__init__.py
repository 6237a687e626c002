"""Restore large archives of photos on many cores or machines, each photo exactly once.

from elir_edge.runtime.archive import restore_archive

restore_archive("photos", "restored", task="denoising")
"""

from elir_edge.runtime.archive.engine import ArchiveResult, restore_archive
from elir_edge.runtime.archive.ledger import Entry, Ledger

__all__ = ["ArchiveResult", "Entry", "Ledger", "restore_archive"]
