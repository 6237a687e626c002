"""Manifests: strict about every field, the same bytes for the same content."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elir_edge.errors import BundleError
from elir_edge.runtime.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Check,
    FileEntry,
    Manifest,
    Noise,
    decode,
)
from elir_edge.tasks import TrainedRange

Values = dict[str, Any]


@pytest.fixture(scope="module")
def values(tiny_bundle: Path) -> Values:
    """Return a real manifest's JSON values; copy them before changing them."""
    loaded: Values = json.loads((tiny_bundle / MANIFEST_NAME).read_text(encoding="utf-8"))
    return loaded


def test_round_trip(values: Values) -> None:
    manifest = Manifest.from_json(json.dumps(values))
    assert json.loads(manifest.to_json()) == values
    assert Manifest.from_json(manifest.to_json()) == manifest
    # The twin: another value is another manifest.
    other = copy.deepcopy(values)
    other["identity"]["sigma_s"] += 0.001
    assert Manifest.from_json(json.dumps(other)) != manifest


def test_an_export_writes_the_very_text(tiny_bundle: Path) -> None:
    text = (tiny_bundle / MANIFEST_NAME).read_text(encoding="utf-8")
    assert Manifest.from_json(text).to_json() == text


def test_the_text_does_not_depend_on_the_order_of_keys(values: Values) -> None:
    turned = dict(reversed(values.items()))
    assert list(turned) != list(values)
    text = Manifest.from_json(json.dumps(values)).to_json()
    assert Manifest.from_json(json.dumps(turned)).to_json() == text
    assert text.endswith("}\n")


def test_types(values: Values) -> None:
    manifest = Manifest.from_json(json.dumps(values))
    assert manifest.schema_version == SCHEMA_VERSION
    assert manifest.inputs[0].shape == (1, 3, 64, 64)
    assert isinstance(manifest.inputs[0].low, float)
    assert manifest.inputs[0].scale is None
    assert manifest.artifact().path == "model.onnx"


def test_whole_numbers_serve_as_floats(values: Values) -> None:
    changed = copy.deepcopy(values)
    changed["inputs"][0]["low"] = 0
    assert isinstance(Manifest.from_json(json.dumps(changed)).inputs[0].low, float)


def test_defaults_may_be_left_out(values: Values) -> None:
    changed = copy.deepcopy(values)
    del changed["inputs"][0]["scale"], changed["precision"]["calibration_count"]
    assert Manifest.from_json(json.dumps(changed)) == Manifest.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "manifest", '{"schema_version": 1,}', "\x00"])
def test_not_json(text: str) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json is not JSON"):
        Manifest.from_json(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_not_a_json_number(number: str, values: Values) -> None:
    """Python's parser takes them, others do not, and no check can pass on them."""
    text = json.dumps(values).replace('"sigma_s": 0.1', f'"sigma_s": {number}')
    assert number in text
    with pytest.raises(BundleError, match=f"not JSON .*{number}"):
        Manifest.from_json(text)


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_beyond_all(number: str, values: Values) -> None:
    text = json.dumps(values).replace('"sigma_s": 0.1', f'"sigma_s": {number}')
    assert number in text
    with pytest.raises(BundleError, match=f"not JSON .*{number} is not a number"):
        Manifest.from_json(text)


def test_nested_beyond_all() -> None:
    with pytest.raises(BundleError, match="not JSON"):
        Manifest.from_json("[" * 100_000)


def test_details_nested_too_deeply(values: Values) -> None:
    for levels, passes in ((20, True), (40, False)):
        changed = copy.deepcopy(values)
        changed["target"]["details"] = {"a": json.loads("[" * levels + "]" * levels)}
        if passes:
            assert Manifest.from_json(json.dumps(changed)).to_json()
            continue
        with pytest.raises(BundleError, match="nested too deeply; expected at most 32 levels"):
            Manifest.from_json(json.dumps(changed))


@pytest.mark.parametrize("text", ["[]", "null", "3", "{}", '{"schema_version": 1}'])
def test_another_schema(text: str) -> None:
    with pytest.raises(BundleError, match=f"another schema version.*expected {SCHEMA_VERSION}"):
        Manifest.from_json(text)


def _set(*path: str | int, to: object) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = to

    return change


def _delete(*path: str | int) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        for key in path[:-1]:
            values = values[key]
        del values[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("schema_version", to=SCHEMA_VERSION + 1), f"got {SCHEMA_VERSION + 1}"),
        (_set("schema_version", to=True), "another schema version; got True"),
        (_set("surprise", to=1), r"manifest is malformed; got unknown \['surprise'\]"),
        (_set("processing", "pad", to=1), r"manifest\.processing .*unknown \['pad'\]"),
        (_set("files", 0, "mode", to=1), r"manifest\.files\[0\] .*unknown \['mode'\]"),
        (_delete("files"), r"manifest is malformed.*missing \['files'\]"),
        (_delete("identity", "noise", "seed"), r"manifest\.identity\.noise .*missing \['seed'\]"),
        (_set("identity", to=[]), r"manifest\.identity is malformed; got list; expected an object"),
        (_set("identity", "num_steps", to="3"), r"manifest\.identity\.num_steps .*got '3'"),
        (_set("identity", "num_steps", to=3.0), r"num_steps .*got 3\.0"),
        (_set("identity", "num_steps", to=True), r"num_steps .*got True"),
        (_set("identity", "sigma_s", to=True), r"sigma_s .*got True"),
        (_set("identity", "sigma_s", to=None), r"sigma_s .*got None"),
        (_set("identity", "licences", "code", to=1), r"licences\.code .*got 1"),
        (_set("identity", "noise", "policy", to="pink"), r"noise\.policy .*got 'pink'"),
        (_set("identity", "noise", "policy", to=["zero"]), r"noise\.policy .*\['zero'\]"),
        (_set("inputs", 0, "shape", to="1x3"), r"manifest\.inputs\[0\]\.shape .*got '1x3'"),
        (_set("inputs", 0, "shape", 2, to=64.0), r"inputs\[0\]\.shape\[2\] .*got 64\.0"),
        (_set("inputs", 0, "scale", to="1"), r"inputs\[0\]\.scale .*got '1'"),
        (_set("processing", "fit", to="crop"), r"processing\.fit .*got 'crop'"),
        (_set("validation", to={}), r"manifest\.validation .*got \{\}"),
        (_set("identity", "sigma_s", to=10**400), r"sigma_s is malformed"),
        (_set("source", "trained_range", "noise_sigma", to=[5.0]), r"noise_sigma is malformed"),
        (_set("source", "trained_range", "noise_sigma", to=[5.0] * 3), r"noise_sigma is malf"),
    ],
)
def test_malformed_fields_are_named(
    change: Callable[[Any], None], message: str, values: Values
) -> None:
    changed = copy.deepcopy(values)
    change(changed)
    with pytest.raises(BundleError, match=message) as error:
        Manifest.from_json(json.dumps(changed))
    assert "\n" not in str(error.value)


def test_parts_are_decoded_alone() -> None:
    noise = decode(Noise, {"policy": "zero", "seed": 0, "sha256": ""}, "noise")
    assert noise == Noise(policy="zero", seed=0, sha256="")
    with pytest.raises(BundleError, match=r"noise is malformed; got str"):
        decode(Noise, "zero", "noise")


_TEXT = st.text(max_size=12)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
_RANGE = st.none() | st.tuples(_NUMBER, _NUMBER)
_CHECKS = st.builds(
    Check,
    form=_TEXT,
    stage=_TEXT,
    reference=_TEXT,
    metric=_TEXT,
    value=_NUMBER,
    threshold=_NUMBER,
    at_least=st.booleans(),
    passed=st.booleans(),
)
_FILES = st.builds(
    FileEntry, path=_TEXT, role=_TEXT, bytes=st.integers(0, 1 << 62), sha256=st.text(max_size=64)
)
_LEARNED = st.none() | st.builds(
    TrainedRange,
    degradation=_TEXT,
    reduction=_RANGE,
    noise_sigma=_RANGE,
    blur_sigma=_RANGE,
    jpeg_quality=_RANGE,
    missing=_RANGE,
)


@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    checks=st.lists(_CHECKS, max_size=3),
    files=st.lists(_FILES, max_size=3),
    learned=_LEARNED,
    rewrites=st.dictionaries(_TEXT, st.integers(0, 1 << 40), max_size=3),
    noise=st.builds(
        Noise,
        policy=st.sampled_from(["constant", "input", "zero"]),
        seed=st.integers(0, 1 << 62),
        sha256=_TEXT,
    ),
)
def test_any_manifest_survives_its_text(
    checks: list[Check],
    files: list[FileEntry],
    learned: TrainedRange | None,
    rewrites: dict[str, int],
    noise: Noise,
    values: Values,
) -> None:
    manifest = Manifest.from_json(json.dumps(values))
    changed = dataclasses.replace(
        manifest,
        validation=tuple(checks),
        files=tuple(files),
        rewrites=rewrites,
        source=dataclasses.replace(manifest.source, trained_range=learned),
        identity=dataclasses.replace(manifest.identity, noise=noise),
    )
    text = changed.to_json()
    assert Manifest.from_json(text) == changed
    assert Manifest.from_json(text).to_json() == text


def test_what_was_learned_is_in_numbers(values: Values) -> None:
    """Own checkpoints and published ones: the range of their degradation, for programs."""
    found = Manifest.from_json(json.dumps(values)).source.trained_range
    assert found == TrainedRange(degradation="paper", noise_sigma=(89.6, 89.6))
    earlier = copy.deepcopy(values)
    del earlier["source"]["trained_range"]
    assert Manifest.from_json(json.dumps(earlier)).source.trained_range is None
