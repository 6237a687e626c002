"""Which convolutions are tried in float32, and what they are thought to cost."""

import numpy as np
import pytest
from onnx import helper

from export.int8 import cost
from export.int8.cost import Gain, Work, blocks_of, float_choices
from export.qdq.convolutions import work_of_convolutions
from tests.export.qdq.graphs import graph_of


def test_work_by_hand() -> None:
    """6 x 8 outputs of 5 channels, each a sum over 3 x 3 x 4; then transposed, 2 x 2 x 5 to 3."""
    model = graph_of(
        [
            helper.make_node("Conv", ["image", "v"], ["x"], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
        ],
        (1, 4, 12, 16),
        "y",
        {"v": np.zeros((5, 4, 3, 3), np.float32), "w": np.zeros((5, 3, 2, 2), np.float32)},
    )
    assert work_of_convolutions(model) == {
        "x": Work(macs=48 * 5 * 36, values=4 * 192 + 5 * 48),
        "y": Work(macs=48 * 5 * 12, values=5 * 48 + 3 * 192),
    }


def test_values_count_as_multiply_accumulates() -> None:
    """What was timed on `nano`: few sums over many values cost more than as many over few."""
    first, inner = Work(macs=14_155_776, values=723_980), Work(macs=37_748_736, values=131_072)
    assert first.macs < inner.macs
    assert first.in_float < inner.in_float
    assert first.in_float / inner.in_float > first.macs / inner.macs


def _gains(**values: float) -> list[Gain]:
    return [Gain(names=(name,), gain_db=value) for name, value in values.items()]


def test_the_cheapest_set_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_COUNTS", (1, 2))
    gains = _gains(dear=0.04, cheap=0.03, useless=0.001)
    costs = {"dear": 1000, "cheap": 10, "useless": 20}
    assert float_choices(gains, costs) == [
        ("cheap",),
        ("cheap", "useless"),
        ("dear",),
        ("dear", "cheap"),
    ]
    # The twin: without a difference in cost, what gains most comes first, and no set comes twice.
    even = dict.fromkeys(costs, 1)
    assert float_choices(gains, even) == [("dear",), ("dear", "cheap")]
    assert float_choices([], costs) == []


def test_a_block_is_one_choice_and_costs_what_all_its_convolutions_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost, "_COUNTS", (1,))
    gains = [Gain(names=("a", "b"), gain_db=0.05), Gain(names=("c",), gain_db=0.04)]
    assert float_choices(gains, {"a": 10, "b": 10, "c": 10}) == [("c",), ("a", "b")]
    assert float_choices(gains, {"a": 1, "b": 1, "c": 10}) == [("a", "b")]


def test_blocks_hold_every_name_once_and_in_order() -> None:
    assert blocks_of("abcdefg", 7) == [(name,) for name in "abcdefg"]
    assert blocks_of("abcdefg", 3) == [("a", "b", "c"), ("d", "e", "f"), ("g",)]
    assert blocks_of("abcdefg", 6) == [("a", "b"), ("c", "d"), ("e", "f"), ("g",)]
    assert blocks_of("", 3) == []


def test_a_gain_names_its_first_and_last_convolution() -> None:
    assert Gain(names=("a",), gain_db=0.0305).title == "a (0.030 dB)"
    assert Gain(names=("a", "b", "c"), gain_db=0.1).title == "a to c (0.100 dB)"
