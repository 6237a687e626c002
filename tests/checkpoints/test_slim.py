"""Whose decoder is TAESD3's, told by its values, and what takes its place."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import elir_edge.checkpoints.slim as slim
from elir_edge.checkpoints.own import (
    Checkpoint,
    build_model,
    embedded_path,
    read_autoencoder,
    read_checkpoint,
)
from elir_edge.checkpoints.slim import departure, with_slim_decoder
from elir_edge.errors import CheckpointError
from elir_edge.model import nano_config, paper_config_for
from elir_edge.model.macs import macs_of
from tests.conftest import make_model

_State = dict[str, Tensor]


def _decoder(state: _State) -> _State:
    return {key: value for key, value in state.items() if key.startswith("decoder.")}


@pytest.fixture(scope="module")
def taesd3(shared: Path) -> _State:
    """Return the real decoder."""
    path = shared / "weights" / "taesd3" / "diffusion_pytorch_model.safetensors"
    return _decoder(read_checkpoint(path, task="autoencoder").state)


@pytest.fixture(scope="module")
def published() -> Checkpoint:
    """Return a checkpoint of published shapes, with random weights."""
    config = paper_config_for("sr", num_steps=1, sigma_s=0.1)
    return Checkpoint(task="sr", config=config, state=make_model(config).state_dict())


def _drawn_like(state: _State, share: float) -> _State:
    generator = torch.Generator().manual_seed(0)
    return {
        key: value * (1 + share * torch.randn(value.shape, generator=generator))
        for key, value in state.items()
    }


@pytest.mark.parametrize(
    "stored",
    [lambda v: v, lambda v: v.half().float(), lambda v: v.bfloat16().float()],
    ids=["float32", "float16", "bfloat16"],
)
def test_the_real_one_is_known_however_it_is_stored(
    stored: Callable[[Tensor], Tensor], taesd3: _State
) -> None:
    """The tolerance is 0.01; bfloat16 keeps 8 bits, which moves a projection by 0.004."""
    assert departure({key: stored(value) for key, value in taesd3.items()}) <= 0.01
    # Rounding as coarse as bfloat16's, of weights that are not bfloat16's own already.
    assert departure(_drawn_like(taesd3, 2**-9)) <= 0.01
    # The twins: changed by 2 per cent; one tensor changed; one missing.
    assert departure(_drawn_like(taesd3, 0.02)) > 0.01
    name = "decoder.layers.2.convs.1.weight"
    assert departure(taesd3 | {name: _drawn_like(taesd3, 0.1)[name]}) > 0.01
    assert departure({k: v for k, v in taesd3.items() if k != name}) == float("inf")


def test_another_decoder_is_refused(published: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"not TAESD3's.*fix: leave out --decoder slim"):
        with_slim_decoder(published)


def test_a_slim_one_has_none_to_replace() -> None:
    nano = read_checkpoint(embedded_path("sr"), task="sr")
    with pytest.raises(CheckpointError, match="is slim as it is"):
        with_slim_decoder(nano)


def test_the_decoder_alone_is_replaced(
    published: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim, "departure", lambda decoder: 0.0)
    made = with_slim_decoder(published)
    assert made.config == dataclasses.replace(published.config, decoder_size="slim")
    for key, value in published.state.items():
        if not key.startswith("decoder."):
            assert made.state[key] is value
    shipped = read_autoencoder(None, nano_config()).decoder
    own = _decoder(made.state)
    assert own.keys() == {f"decoder.{key}" for key in shipped}
    assert all(torch.equal(own[f"decoder.{key}"], value) for key, value in shipped.items())
    before, after = (macs_of(build_model(each), 256) for each in (published, made))
    assert before["decoder"] > 11 * after["decoder"]
    assert {**before, "decoder": 0} == {**after, "decoder": 0}


def test_sizes_are_kept_in_files_and_absent_where_they_say_nothing() -> None:
    config = paper_config_for("sr", num_steps=1, sigma_s=0.1)
    assert not {"encoder_size", "decoder_size"} & config.to_dict().keys()
    slim_one = dataclasses.replace(config, decoder_size="slim")
    assert slim_one.to_dict()["decoder_size"] == "slim"
    assert type(config).from_dict(slim_one.to_dict()) == slim_one
    assert slim_one.of_decoder.autoencoder_widths == nano_config().autoencoder_widths
    assert slim_one.of_encoder == slim_one
