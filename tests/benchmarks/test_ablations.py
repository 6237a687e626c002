"""The ablations' runs are what they say, and differ in nothing else."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from benchmarks import ablations, curves
from benchmarks.ablations import FLOWS, PARTS, Variant, configuration
from elir_edge.errors import CheckpointError, DataError
from elir_edge.model import Elir


@pytest.mark.parametrize("variant", [*FLOWS, *PARTS], ids=lambda v: v.name)
def test_variants_are_possible_and_differ_as_they_say(variant: Variant) -> None:
    config = configuration(variant)
    base = configuration((FLOWS if variant in FLOWS else PARTS)[0])
    with torch.device("meta"):
        Elir(config.model)
    changed = {
        field.name
        for field in dataclasses.fields(config)
        if field.name != "model" and getattr(config, field.name) != getattr(base, field.name)
    }
    assert changed == set(variant.training) | ({"objective"} & set(variant.model))
    if variant.training or variant.model:
        assert config != base
    assert (config.task, config.trainable_encoder) == (
        ("sr", False) if variant in FLOWS else ("denoising", variant.name != "fixed-encoder")
    )


def test_names_are_distinct_and_unknown_ones_refused() -> None:
    names = [variant.name for variant in (*FLOWS, *PARTS)]
    assert len(set(names)) == len(names)
    assert [v.name for v in ablations._chosen("fm,whole")] == ["fm", "whole"]
    with pytest.raises(typer.BadParameter, match="nothing"):
        ablations._chosen("fm,nothing")


def test_a_report_needs_all_runs(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not trained yet: lcfm, fm, "):
        ablations.report(data=tmp_path, runs=tmp_path, every=1, only="", out=tmp_path / "table.md")


def test_rows_of_other_variants_stay(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    assert ablations._with_others([{"variant": "fm"}], path, 3) == [{"variant": "fm"}]
    old = [{"variant": "whole", "psnr_db": 1.0}, {"variant": "fm", "psnr_db": 2.0}]
    path.write_text(json.dumps({"num_photos": 3, "rows": old}))
    rows = ablations._with_others([{"variant": "fm", "psnr_db": 5.0}], path, 3)
    assert [(row["variant"], row["psnr_db"]) for row in rows] == [("fm", 5.0), ("whole", 1.0)]
    with pytest.raises(DataError, match="on other photos"):
        ablations._with_others([], path, 4)


def test_curves_are_drawn(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(DataError, match=r"no log\.jsonl"):
        curves.draw([run], out=tmp_path / "curves.png")
    records = [{"step": s, "total": 1 / s, "l_2": 1 / s, "grad_norm": 1.0} for s in (50, 100)]
    lines = [json.dumps(r) for r in [*records, {"step": 100, "seconds": 3.0, "full": 20.0}]]
    (run / "log.jsonl").write_text("\n".join(lines) + "\n")
    curves.draw([run], out=tmp_path / "curves.png")
    assert np.asarray(Image.open(tmp_path / "curves.png").convert("L")).std() > 5
