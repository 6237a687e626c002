"""The paper's own speeds of ELIR, on an NVIDIA GeForce RTX 2080 Ti. Nothing here was measured.

The paper says (section 5): "FPS is evaluated by injecting images into an NVIDIA GeForce RTX 2080 Ti
and recording its process time." Precision and batch are not said. Table 2 (super-resolution,
denoising, inpainting) has no column of speed; the text beside it says "about 50 FPS".
"""

from dataclasses import dataclass

from benchmarks.published import FPS, OWN_MODEL, PARAMETERS, load_figures
from elir_edge.tasks import get_task

GPU = "NVIDIA GeForce RTX 2080 Ti"
_MILLIONS = 27
"""Parameters of the models of Tables 5 and 10, which have no column of them (section 7.5)."""


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """A speed that the paper prints.

    Attributes:
        task: its name.
        millions: parameters of the model, in millions, as printed.
        steps: K.
        fps: images a second.
        source: table, row and column, or where else in the paper.
    """

    task: str
    millions: int
    steps: int
    fps: float
    source: str


IN_TEXT = tuple(
    PaperFigure(
        task=task, millions=_MILLIONS, steps=3, fps=50.0, source='text beside Table 2, "~50 FPS"'
    )
    for task in ("sr", "denoising", "inpainting")
)
"""What the paper says outside of its tables."""


def all_figures() -> list[PaperFigure]:
    """Return what the paper says of ELIR's speed: its text's figures, then its tables'.

    Raises:
        DataError: the file of the published figures is damaged.
    """
    published = load_figures()
    millions = {(f.table, f.model): f.value for f in published if f.column == PARAMETERS}
    tables = [
        PaperFigure(
            task=figure.task,
            millions=round(millions.get((figure.table, figure.model), _MILLIONS)),
            steps=_steps(figure.model, figure.task),
            fps=figure.value,
            source=f"{figure.table}, {figure.model}, {figure.column}",
        )
        for figure in published
        if figure.column == FPS and figure.model.partition(",")[0] == OWN_MODEL
    ]
    return [*IN_TEXT, *tables]


def _steps(model: str, task: str) -> int:
    """Return K: from the model's name where a table varies it, else the task's (Table 6)."""
    _, varied, number = model.partition("K = ")
    return int(number) if varied else get_task(task).num_steps


def figures_of(model: str, task: str, parameters: int, steps: int) -> list[PaperFigure]:
    """Return the paper's figures of the same model: same task, K and number of parameters.

    Args:
        model: only `paper` has the published architecture.
        task: its name.
        parameters: of the collapsed network; the paper prints millions, and 18 for `bsr`'s 19.08.
        steps: K.
    """
    return [
        figure
        for figure in all_figures()
        if model == "paper"
        and figure.task == task
        and figure.steps == steps
        and abs(figure.millions - parameters / 1e6) < 1.1
    ]
