"""Power laws y = c x^p and lines y = a + b x, fitted to points whose relative errors are alike."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.turns import half_width
from elir_edge.errors import ParityError


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """A fit.

    Attributes:
        exponent: p.
        low: lower end of its 95 % confidence interval; None: two points, which leave no error.
        high: upper end.
        factor: c.
        worst_ratio: of the points, the greatest ratio of measured to fitted or of fitted to
            measured: 1 if all points lie on the law.
        points: how many.
    """

    exponent: float
    low: float | None
    high: float | None
    factor: float
    worst_ratio: float
    points: int

    def __str__(self) -> str:
        """Return the exponent and its interval."""
        if self.low is None:
            return f"{self.exponent:.2f}"
        return f"{self.exponent:.2f} ({self.low:.2f} to {self.high:.2f})"

    def rounded(self) -> dict[str, float | int | None]:
        """Return JSON values, to four significant digits."""
        return {
            k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in asdict(self).items()
        }


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit y = c x^p.

    Raises:
        ParityError: fewer than two different x, or values that are not positive and finite.
    """
    both = np.array([x, y], np.float64)
    if len(set(x)) < 2 or not (np.isfinite(both).all() and (both > 0).all()):
        raise ParityError(
            "no power law fits these points",
            got=f"x {list(x)}, y {list(y)}",
            expected="positive numbers, at least two of x different",
        )
    u, v = np.log(both)
    centred = u - u.mean()
    spread = float(centred @ centred)
    exponent = float(centred @ (v - v.mean())) / spread
    intercept = float(v.mean() - exponent * u.mean())
    residuals = v - (intercept + exponent * u)
    free = len(u) - 2
    half = None
    if free > 0:
        half = half_width(float(np.sqrt(residuals @ residuals / free / spread)), free)
    return PowerLaw(
        exponent=exponent,
        low=None if half is None else exponent - half,
        high=None if half is None else exponent + half,
        factor=float(np.exp(intercept)),
        worst_ratio=float(np.exp(np.abs(residuals).max())),
        points=len(u),
    )


@dataclass(frozen=True, kw_only=True)
class Line:
    """A fit y = constant + slope x.

    Attributes:
        constant: what does not grow.
        slope: what each unit of x adds.
        worst_ratio: as of `PowerLaw`.
    """

    constant: float
    slope: float
    worst_ratio: float

    def rounded(self) -> dict[str, float]:
        """Return JSON values, to four significant digits."""
        return {k: float(f"{v:.4g}") for k, v in asdict(self).items()}


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Fit y = a + b x by least squares of the relative errors.

    Raises:
        ParityError: see `fit_power_law`; or the line is not positive at one of the points.
    """
    fit_power_law(x, y)  # the same points are refused
    u, v = np.array(x, np.float64), np.array(y, np.float64)
    scale = u.max()  # pixels beside a constant 1 would be badly conditioned
    (constant, slope), *_ = np.linalg.lstsq(
        np.stack([1 / v, u / scale / v], axis=1), np.ones_like(v), rcond=None
    )
    fitted = constant + slope * u / scale
    if not (fitted > 0).all():
        raise ParityError("no line fits these points", got=f"x {list(x)}, y {list(y)}")
    ratios = np.maximum(fitted / v, v / fitted)
    return Line(
        constant=float(constant), slope=float(slope / scale), worst_ratio=float(ratios.max())
    )
