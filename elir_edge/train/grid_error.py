"""The error that a decoder's grid leaves in an image."""

from torch import Tensor

from elir_edge.errors import UsageError

_PERIOD, _WINDOW = 4, 16
RESTORED_WINDOW = 64
"""Side of the windows in which the grid of restored images is measured: their error has more of
everything else, which a larger window averages out."""


def grid_error(error: Tensor, *, period: int = _PERIOD, window: int = _WINDOW) -> Tensor:
    """Return the mean absolute amplitude of an error's patterns that repeat every few pixels.

    Upsampling layers of stride 2 leave such grids, which are faint but visible in smooth areas. In
    each window, the error is averaged over pixels of equal phase (period x period phases), which
    removes almost everything that is not periodic. The pattern is the difference between these
    averages and the mean of the window.

    Args:
        error: difference of two images, (B, C, H, W); H and W are multiples of `window`.
        period: of the patterns, in pixels; those of its divisors count too. 4 has those of a
            decoder's last two layers, 8 those of the latent's pixels as well.
        window: side of a window in pixels, a multiple of the period.

    Returns:
        A scalar in the images' units; 0 for an error without such patterns.

    Raises:
        UsageError: H or W is not a multiple of `window`.
    """
    batch, channels, height, width = error.shape
    if height % window or width % window:
        raise UsageError(
            "the grid of an image cannot be measured",
            got=f"{width} x {height}",
            expected=f"sides that are multiples of {window}",
        )
    per_window = window // period
    phases = error.reshape(
        batch * channels,
        height // window,
        per_window,
        period,
        width // window,
        per_window,
        period,
    ).mean(dim=(2, 5))
    return (phases - phases.mean(dim=(2, 4), keepdim=True)).abs().mean()
