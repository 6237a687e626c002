"""Wide sums: the same function, and nothing but additions reads what is to have 16 bits."""

import operator

import pytest
import torch
import torch.fx
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.model import draw_noise
from export.static.unroll import StaticElir, static_form
from export.targets.imx500.sums import with_wide_sums
from tests.conftest import make_model, tiny_config


class _Restored(nn.Module):
    def __init__(self, static: StaticElir) -> None:
        super().__init__()
        self.static = static

    def forward(self, image: Tensor) -> Tensor:
        return self.static.stages(image)["restored"]


class _Small(nn.Module):
    """One tensor of every kind that an addition and a convolution read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.idle = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)  # a convolution
        b = F.relu(self.second(a) + a)  # a rectified sum
        c = self.third(b) + self.idle(b)  # a sum, through what does nothing
        return self.second(c) + c


def _readers(graph: torch.fx.GraphModule) -> dict[str, set[bool]]:
    """Return for each tensor of a trace whether additions, and whether others, read it."""
    traced = torch.fx.symbolic_trace(graph)
    additions = {operator.add, torch.add}
    return {n.name: {user.target in additions for user in n.users} for n in traced.graph.nodes}


def _shared(readers: dict[str, set[bool]]) -> list[str]:
    return [name for name, kinds in readers.items() if kinds == {True, False}]


@pytest.fixture
def small() -> _Small:
    torch.manual_seed(0)
    return _Small()


def test_computes_the_same(small: _Small) -> None:
    """Exactly; the twin computes a tensor's second copy from something else."""
    graph, _ = with_wide_sums(small)
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(graph(x), small(x))
    rectified = [n for n in graph.graph.nodes if n.target is F.relu]
    assert len(rectified) == 2
    rectified[0].replace_all_uses_with(rectified[0].all_input_nodes[0])
    graph.recompile()
    assert not torch.allclose(graph(x), small(x))


def test_only_additions_read_what_is_wide(small: _Small) -> None:
    before = _shared(_readers(small))  # type: ignore[arg-type]
    assert len(before) == 2  # a, c: what the split is for; b is hidden behind the identity
    graph, wide = with_wide_sums(small)
    readers = _readers(graph)
    assert not _shared(readers)
    assert set(wide) == {name for name, kinds in readers.items() if kinds == {True}}
    # a, b, c and the summand that each of the three sums adds to one of them.
    assert len(wide) == len(set(wide)) == 6


def test_a_rectified_sum_is_computed_twice_from_the_start(small: _Small) -> None:
    """Else the sum itself had two readers and would be rounded before it is rectified."""
    graph, _ = with_wide_sums(small)
    for node in graph.graph.nodes:
        if node.target is F.relu:
            assert len(node.all_input_nodes[0].users) == 1


@pytest.mark.filterwarnings("error")
def test_the_static_model_keeps_its_function() -> None:
    model = make_model(tiny_config())
    static = static_form(model, draw_noise(model.config, 48, 64))
    restored = _Restored(static)
    graph, wide = with_wide_sums(restored)
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(graph(image), restored(image))
    readers = _readers(graph)
    assert not _shared(readers)
    summands = {name for name, kinds in readers.items() if kinds == {True}}
    # The noise is a constant, which has no range to find.
    assert {name for name in summands if not name.startswith("static_noise")} == set(wide)
