"""Figures that the paper publishes of other models and of its own, each with table and column.

They lie in `published_figures.json`. Nothing of them was measured here: programs print them beside
measured rows, in tables of their own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from elir_edge.errors import DataError
from elir_edge.tasks import TASKS

PATH = Path(__file__).with_name("published_figures.json")
PARAMETERS, FPS = "#Params [M]", "FPS"
OWN_MODEL = "ELIR"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of the paper.

    Attributes:
        model: whose, with its steps where it iterates.
        task: by its name here.
        side: of the resulting image, in pixels.
        table: of the paper, e.g. `Table 1(a)`.
        column: of the table.
        printed: the model's name in the table; empty where the table names none.
        value: the number.
    """

    model: str
    task: str
    side: int
    table: str
    column: str
    printed: str
    value: float


def load_figures(path: Path = PATH) -> list[Figure]:
    """Return all figures, in the file's order.

    Raises:
        DataError: the file is damaged, or a number has no table or column.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [figure for table in content["tables"] for figure in _figures(table)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not hold published figures ({error})", fix="take the file of the checkout"
        ) from error


def _figures(table: dict[str, Any]) -> list[Figure]:
    columns = table["columns"]
    if table["task"] not in TASKS or not table["table"].startswith("Table "):
        raise ValueError(f"no such table: {table['table']!r} of {table['task']!r}")
    found = []
    for row in table["rows"]:
        if len(row["values"]) != len(columns):
            raise ValueError(
                f"{row['model']} has {len(row['values'])} numbers for {len(columns)} columns of "
                f"{table['table']}"
            )
        found += [
            Figure(
                model=row["model"],
                task=table["task"],
                side=int(table["side"]),
                table=table["table"],
                column=column,
                printed=row["printed"],
                value=float(value),
            )
            for column, value in zip(columns, row["values"], strict=True)
        ]
    return found


def machine_of_figures() -> str:
    """Return which machine the frames a second are from."""
    return str(json.loads(PATH.read_text(encoding="utf-8"))["machine"])


def speed_table(figures: Sequence[Figure], tasks: Sequence[str]) -> Table:
    """Return the published parameters and frames a second of the tables that compare models."""
    table = Table(
        "task", "model", "parameters, M", "FPS", "source",
        title=f"published, not measured here: {machine_of_figures()}",
    )  # fmt: skip
    by_row: dict[tuple[str, str, str], dict[str, float]] = {}
    for figure in figures:
        key = (figure.task, figure.model, figure.table)
        by_row.setdefault(key, {})[figure.column] = figure.value
    for (task, model, source), values in by_row.items():
        if (
            task in tasks
            and PARAMETERS in values
            and FPS in values
            and source.startswith("Table 1(")
        ):
            shown = f"{values[PARAMETERS]:g}", f"{values[FPS]:g}"
            table.add_row(task, model, *shown, source)
    return table
