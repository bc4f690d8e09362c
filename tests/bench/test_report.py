"""Results as tables, documents and pictures."""

from pathlib import Path

import msgspec
import pytest

from jan.bench.plot import write_plot
from jan.bench.report import as_text, write_json, write_markdown
from jan.bench.results import BenchReport, Column, Machine, Result, Row, Spread, Target


def result(name: str = "stream", speed: float = 1234.5) -> Result:
    return Result(
        scenario=name,
        about="What it is about.",
        headline="speed",
        columns=(Column("speed", "tokens / s"), Column("wait", "wait ms", 1, 1e3)),
        rows=(
            Row("64 streams", "jan", {"speed": Spread.of([speed]), "wait": Spread.of([0.0025])}),
            Row("64 streams", "other", {"speed": Spread.of([500.0, 700.0])}, Spread.of([2.0, 2.2])),
        ),
        targets=(
            Target.at_least("twice the other", 2.0, 2.1),
            Target.at_least("all of it", 1.0, 0.5),
            Target.at_least("beside nobody", 1.0, None),
        ),
        ratio_title="ours / this",
        missing={"third": "Not available: It needs a compiler."},
        notes=("other: it is another one.",),
    )


def report(*results: Result) -> BenchReport:
    machine = Machine("A processor", 2, "Linux x86_64", "3.12.1")
    return BenchReport("0.1.0", "2026-11-25T10:00:00+00:00", "tools/bench stream", machine, results)


def test_the_table_says_what_was_measured_met_missed_and_left_out() -> None:
    lines = as_text(result()).splitlines()
    assert lines[0] == "stream: What it is about."
    assert lines[2].split("  ")[0] == "case"
    assert lines[4].split() == ["64", "streams", "jan", "1,234", "2.5"]
    assert lines[5].split() == ["64", "streams", "other", "600", "2.10", "(2.00-2.20)"]
    assert lines[6:] == [
        "  met: twice the other (2.1)",
        "  MISSED: all of it (0.5)",
        "  not measured: beside nobody",
        "  other: it is another one.",
        "  without third: Not available: It needs a compiler.",
    ]


def test_a_target_that_was_not_measured_is_not_missed() -> None:
    assert not report(result()).all_met
    fine = msgspec.structs.replace(result(), targets=(Target.at_least("beside nobody", 1.0, None),))
    assert report(fine).all_met


def test_a_document_gets_the_tables_where_it_has_marks_for_them(tmp_path: Path) -> None:
    """Text around the marks stays. A scenario without marks is added at the end, with its marks."""
    file = tmp_path / "performance.md"
    file.write_text("# Speed\n\n<!-- bench:stream -->\n\nold\n\n<!-- bench:end -->\n\nIn words.\n")
    write_markdown(report(result(), result("store")), file)
    text = file.read_text()
    assert "old" not in text
    assert "\n- other: it is another one.\n- without third: Not available: It needs a compiler.\n" in text
    assert text.index("# Speed") < text.index("| 64 streams | jan | 1,234 | 2.5 |  |") < text.index("In words.")
    assert text.index("In words.") < text.index("## store\n\nWhat it is about.")
    assert "`tools/bench stream`, 2026-11-25, A processor, 2 cores, Linux x86_64, Python 3.12.1" in text
    write_markdown(report(result(), result("store")), file)
    assert file.read_text() == text


def test_a_scenario_that_failed_has_no_table(tmp_path: Path) -> None:
    """The results of another run stay in the document."""
    failed = Result.failed("stream", "no server")
    assert as_text(failed) == "stream: could not be measured: no server\n"
    write_markdown(report(result()), tmp_path / "out.md")
    before = (tmp_path / "out.md").read_text()
    write_markdown(report(failed), tmp_path / "out.md")
    assert (tmp_path / "out.md").read_text() == before
    assert report(failed).failures == ["stream: no server"]
    assert not report(failed).all_met


def test_json_has_every_rounds_values(tmp_path: Path) -> None:
    write_json(report(result()), tmp_path / "out.json")
    read = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=BenchReport)
    assert read == report(result())
    assert read.results[0].rows[1].values["speed"].samples == (500.0, 700.0)


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_plot(report(result(), result("store")), tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
