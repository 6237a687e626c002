"""What an export tells while it works."""

from export.reporting import SILENT, Report


def test_items_are_told_before_each() -> None:
    told: list[object] = []
    report = Report(lambda text, done: told.append((text, done)))
    for item in report.each("counting", "abcd"):
        told.append(item)
    report("done")
    assert told == [
        *(("counting", 0.0), "a", ("counting", 0.25), "b"),
        *(("counting", 0.5), "c", ("counting", 0.75), "d"),
        ("done", None),
    ]


def test_nobody_is_told() -> None:
    SILENT("text", 0.5)
    assert list(SILENT.each("text", [1, 2])) == [1, 2]
