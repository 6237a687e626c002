"""Which metrics a run gets, and what is refused."""

import pytest

from elir_edge.errors import UsageError
from elir_edge.metric_table import METRICS, chosen_metrics


def _names(*names: str, side: int | None = 256, have_references: bool = True) -> list[str]:
    chosen = chosen_metrics(list(names), side=side, have_references=have_references)
    return [metric.name for metric in chosen]


def test_psnr_and_ssim_on_y_come_with_every_ground_truth() -> None:
    assert _names() == ["psnr", "ssim-y"]
    assert _names("niqe", "ssim-rgb") == ["psnr", "ssim-y", "ssim-rgb", "niqe"]
    assert _names("niqe", have_references=False) == ["niqe"]


def test_names_say_what_a_figure_needs() -> None:
    """What has several networks, channels or statistics has no name without one."""
    for name in ("ssim", "lpips", "ids"):
        with pytest.raises(UsageError, match=rf"unknown metric '{name}'.*ssim-y, .*lpips-vgg, "):
            _names(name)
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


def test_what_is_better_and_what_is_compared() -> None:
    """Similarity and naturalness grow, distances and angles shrink, by their definitions."""
    grow = {"psnr", "ssim-y", "ssim-rgb", "musiq", "clipiqa", "ids-mobilefacenet"}
    assert {name for name, metric in METRICS.items() if not metric.lower_better} == grow
    alone = {"fid-ffhq-256", "fid-ffhq-512", "niqe", "musiq", "clipiqa"}
    assert {name for name, metric in METRICS.items() if not metric.needs_reference} == alone
    folders = {"fid", "fid-ffhq-256", "fid-ffhq-512"}
    assert {name for name, metric in METRICS.items() if metric.of == "folder"} == folders
    assert {name: metric.min_side for name, metric in METRICS.items()} == {
        name: 96 if name == "niqe" else 32 for name in METRICS
    }


def test_metrics_that_need_a_reference_are_refused_without() -> None:
    with pytest.raises(UsageError, match=r"psnr, lpips-vgg, fid cannot be.*fid-ffhq-256, .*niqe"):
        _names("psnr", "fid", "lpips-vgg", "musiq", have_references=False)
    with pytest.raises(UsageError, match="no metric is left"):
        _names(have_references=False)


@pytest.mark.parametrize("side", [256, 512])
def test_ffhq_statistics_are_those_of_the_images_side(side: int) -> None:
    assert _names("fid-ffhq", side=side)[-1] == f"fid-ffhq-{side}"
    assert METRICS[f"fid-ffhq-{side}"].options["dataset_res"] == side
    other = 768 - side
    with pytest.raises(UsageError, match=f"needs images of {other} x {other}; got {side} x"):
        _names(f"fid-ffhq-{other}", side=side)


@pytest.mark.parametrize(("side", "got"), [(128, "128 x 128"), (None, "several sizes")])
def test_other_sides_have_no_ffhq_statistics(side: int | None, got: str) -> None:
    with pytest.raises(UsageError, match=f"256 x 256 or 512 x 512.*got .*{got}"):
        _names("fid-ffhq", side=side)
