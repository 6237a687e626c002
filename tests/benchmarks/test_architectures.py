"""Other projects' architectures: of the published sizes where they are, else the extra is named."""

import importlib.util
import sys

import pytest
import torch

from benchmarks.architectures import ARCHITECTURES, Architecture, build, count_parameters_m
from benchmarks.published import PARAMETERS, load_figures
from elir_edge.errors import BackendError

PUBLISHED = {
    "CodeFormer": "CodeFormer",
    "GFPGAN": "GFPGAN",
    "RRDBNet (Real-ESRGAN, BSRGAN)": "Real-ESRGAN",
    "SwinIR-L": "SwinIR-GAN",
}


def test_absent_packages_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    monkeypatch.setitem(sys.modules, "spandrel.architectures", None)
    with pytest.raises(BackendError, match=r"cannot be imported.*\.\[peers\]"):
        build(ARCHITECTURES[0])


def test_sizes_are_those_of_the_paper() -> None:
    published = {f.model: f.value for f in load_figures() if f.column == PARAMETERS}
    for ours, theirs in PUBLISHED.items():
        (found,) = (a for a in ARCHITECTURES if a.title == ours)
        # The paper rounds to a million where there are more than 20.
        assert found.parameters_m == pytest.approx(published[theirs], abs=0.5), ours
    assert {a.side * a.scale for a in ARCHITECTURES if a.task == "bfr"} == {512}
    assert {a.side * a.scale for a in ARCHITECTURES if a.task == "bsr"} == {256}
    assert all(a.licence for a in ARCHITECTURES)


@pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None,
    reason="spandrel lives in an environment of its own (extra `peers`)",
)
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.title)
def test_networks_are_of_the_recorded_size(architecture: Architecture) -> None:
    network = build(architecture)
    assert count_parameters_m(network) == pytest.approx(architecture.parameters_m, rel=0.01)
    if architecture.title == "SPAN":
        plain = architecture.__class__(
            **{**vars(architecture), "deploy": lambda each: each}  # what eval runs without it
        )
        image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            difference = (network(image) - build(plain)(image)).abs().max()
        assert difference < 1e-5
