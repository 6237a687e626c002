"""Which models restore, and how."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elir_edge.cli.restoring.photos import RestoresFiles
    from elir_edge.runtime import FileResult, Restorer
    from elir_edge.runtime.fitting import TileProgress


@dataclass(frozen=True, kw_only=True)
class Models:
    """The options that choose the models of a restoration.

    Attributes:
        task: of the ready bundle; None: `bundle` is given.
        bundle: a folder made by an export.
        threads: CPU threads of the runtime; None: its default.
        seed: of the noise, where it is an input.
        runtime: by name; None: the bundle's first.
        whole: squeeze pictures into the square of aligned faces that are none.
        faces: find faces and restore each.
        background: task whose ready bundle restores the rest of a photo with faces.
    """

    task: str | None
    bundle: Path | None
    threads: int | None
    seed: int
    runtime: str | None
    whole: bool
    faces: bool = False
    background: str | None = None

    def open_restorer(self) -> "Restorer":
        """Return the restorer of whole photos or of aligned faces."""
        from elir_edge.runtime import Restorer, ready_bundle

        chosen = ready_bundle(self.task) if self.task is not None else self.bundle
        assert chosen is not None
        return Restorer(
            chosen, threads=self.threads, seed=self.seed, runtime=self.runtime, whole=self.whole
        )

    def open(self) -> "RestoresFiles":
        """Return what restores image files."""
        restorer = self.open_restorer()
        if not self.faces:
            return restorer.restore_file
        from elir_edge.runtime import Restorer, ready_bundle
        from elir_edge.runtime.faces import FaceFinder, FaceRestorer

        background = None
        if self.background is not None:
            background = Restorer(
                ready_bundle(self.background),
                threads=self.threads,
                seed=self.seed,
                runtime=self.runtime,
            )
        faces = FaceRestorer(restorer, FaceFinder(threads=self.threads), background=background)

        def restore_file(
            source: Path, target: Path, *, mask: Path | None, progress: "TileProgress"
        ) -> "FileResult":
            assert mask is None
            return faces.restore_file(source, target, progress=progress)

        return restore_file
