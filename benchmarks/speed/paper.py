"""The paper's own speeds of ELIR, on an NVIDIA GeForce RTX 2080 Ti. Nothing here was measured.

The paper says (section 5): "FPS is evaluated by injecting images into an NVIDIA GeForce RTX 2080 Ti
and recording its process time." Precision and batch are not said. Table 2 (super-resolution,
denoising, inpainting) has no column of speed; the text beside it says "about 50 FPS".
"""

from dataclasses import dataclass

GPU = "NVIDIA GeForce RTX 2080 Ti"


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """A speed that the paper prints.

    Attributes:
        task: its name.
        millions: parameters of the model, in millions, as printed.
        steps: K.
        fps: images a second.
        source: table, row and column.
    """

    task: str
    millions: int
    steps: int
    fps: float
    source: str


FIGURES = (
    PaperFigure(task="bfr", millions=37, steps=5, fps=19.51, source="Table 1(a), ELIR, FPS"),
    PaperFigure(task="bsr", millions=18, steps=3, fps=52.20, source="Table 1(b), ELIR, FPS"),
    *(
        PaperFigure(
            task=task, millions=27, steps=3, fps=50.0, source='text beside Table 2, "~50 FPS"'
        )
        for task in ("sr", "denoising", "inpainting")
    ),
    PaperFigure(task="denoising", millions=27, steps=3, fps=49.26, source="Table 5, ELIR, FPS"),
    *(
        PaperFigure(
            task="sr", millions=millions, steps=3, fps=fps, source=f"Table 9, {millions} M, FPS"
        )
        for millions, fps in ((13, 50.55), (19, 50.05), (27, 49.26), (37, 42.94))
    ),
    *(
        PaperFigure(task="sr", millions=27, steps=steps, fps=fps, source=f"Table 10, K = {steps}")
        for steps, fps in ((1, 70.30), (3, 49.26), (5, 36.35))
    ),
)


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
        for figure in FIGURES
        if model == "paper"
        and figure.task == task
        and figure.steps == steps
        and abs(figure.millions - parameters / 1e6) < 1.1
    ]
