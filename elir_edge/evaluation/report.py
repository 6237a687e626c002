"""The output files of an evaluation: `report.json`, `table.md` and pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elir_edge import __version__
from elir_edge.checkpoints.own import Checkpoint
from elir_edge.evaluation.evaluate import SAMPLE_LABELS, Evaluation, finite, lower_better
from elir_edge.evaluation.examples import Examples
from elir_edge.evaluation.trajectories import NUM_TIMES, FlowReport, draw_straightness
from elir_edge.files import replacing_file, write_json
from elir_edge.metric_table import METRICS
from elir_edge.model import Elir
from elir_edge.pictures import grid
from elir_edge.runtime import Restorer

HEADER = ("metric", "input", "restored", "worst", "best")
_TRAJECTORY, _STRAIGHTNESS = "trajectory.png", "straightness.png"
_FLOW_NAMES = {
    "encoder_decoder_error": "W2 bound: encoder-decoder error, per pixel value",
    "velocity_error": "W2 bound: vector-field error (upper bound), per latent value",
    "latent_straightness": "straightness of the latent paths (0: straight)",
    "pixel_straightness": "straightness of the decoded paths",
}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The checkpoint or bundle that is evaluated.

    Attributes:
        kind: `checkpoint` or `bundle`.
        name: name of the checkpoint or bundle, for people.
        task: the restoration task.
        sha256: SHA-256 of the weights' file.
        restorer: restores images with it.
        checkpoint: the checkpoint with the number of Euler steps that are run; None for a bundle.
        model: the checkpoint's model; None for a bundle.
        trained_steps: K, the Euler steps that the checkpoint was trained for; None for a bundle.
    """

    kind: str
    name: str
    task: str
    sha256: str
    restorer: Restorer
    checkpoint: Checkpoint | None = None
    model: Elir | None = None
    trained_steps: int | None = None

    @property
    def euler_steps(self) -> int:
        """Return M, the number of Euler steps that are run."""
        return self.restorer.bundle.manifest.identity.num_steps


def report_content(
    subject: Subject,
    examples: Examples,
    result: Evaluation,
    flow: FlowReport | None,
    notes: list[str],
) -> dict[str, Any]:
    """Return the report as JSON values; scores that are not finite become null."""
    measured = {
        name: {"title": METRICS[name].title, "lower_better": lower_better(name), **values}
        for name, values in result.summary().items()
    }
    for name, file in result.files.items():
        measured[name]["weights"] = file
    looked_at = None
    if flow is not None:
        looked_at = {"images": len(flow.rows), "times": NUM_TIMES, **flow.values()}
    content: dict[str, Any] = finite(
        {
            "format": 1,
            "tool_version": __version__,
            "subject": {
                "kind": subject.kind,
                "name": subject.name,
                "sha256": subject.sha256,
                "task": subject.task,
                "size": subject.restorer.size,
                "euler_steps": subject.euler_steps,
                "trained_steps": subject.trained_steps,
                "runtime": subject.restorer.runtime,
            },
            "images": {"count": len(examples), **examples.source},
            "metrics": measured,
            "flow": looked_at,
            "notes": notes,
            "names": result.names,
            "scores": result.images,
        }
    )
    return content


def write_report(
    out: Path, content: dict[str, Any], result: Evaluation, flow: FlowReport | None
) -> None:
    """Write all files and delete an earlier run's pictures of the flow."""
    with replacing_file(out / "samples.png") as temporary:
        grid(result.samples, SAMPLE_LABELS[: len(result.samples[0])]).save(temporary, "PNG")
    if flow is None:
        for name in (_TRAJECTORY, _STRAIGHTNESS):
            (out / name).unlink(missing_ok=True)
    else:
        with replacing_file(out / _TRAJECTORY) as temporary:
            grid(flow.rows, flow.labels).save(temporary, "PNG")
        with replacing_file(out / _STRAIGHTNESS) as temporary:
            draw_straightness(temporary, flow)
    with replacing_file(out / "table.md") as temporary:
        temporary.write_text(_markdown(content), encoding="utf-8")
    write_json(out / "report.json", content)


def table_rows(content: dict[str, Any]) -> list[list[str]]:
    """Return the table's rows below `HEADER`: one per metric, then one per number of the flow."""
    rows = []
    for values in content["metrics"].values():
        arrow = "lower is better" if values["lower_better"] else "higher is better"
        rows.append([f"{values['title']} ({arrow})", *(_text(values, c) for c in HEADER[1:])])
    for name, value in (content["flow"] or {}).items():
        if name in _FLOW_NAMES:
            rows.append([_FLOW_NAMES[name], "", _number(value), "", ""])
    return rows


def _text(values: dict[str, Any], column: str) -> str:
    return _number(values[column]) if column in values else ""


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"


def title(content: dict[str, Any]) -> str:
    """Return a title: what was evaluated, on how many images, with which degradation."""
    subject, images = content["subject"], content["images"]
    runs = f"{subject['task']}, {subject['runtime']}"
    if subject["trained_steps"] not in (None, subject["euler_steps"]):
        runs += f", {subject['euler_steps']} Euler steps instead of {subject['trained_steps']}"
    shown = f"{subject['name']} ({runs}), {images['count']} images"
    return f"{shown}, degradation {images['degradation']}" if "degradation" in images else shown


def _markdown(content: dict[str, Any]) -> str:
    lines = [title(content), "", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in table_rows(content)]
    lines += [f"\nNote: {note}." for note in content["notes"]]
    return "\n".join(lines) + "\n"
