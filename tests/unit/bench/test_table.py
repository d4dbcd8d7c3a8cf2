"""What the bench's table says of its rows."""

from __future__ import annotations

import json
from pathlib import Path

from bench.table import Row, Target, render, render_comparison, save, summarise


def test_median_and_the_slowest_twentieth() -> None:
    row = summarise("x", [float(n) for n in range(1, 101)], 2)
    assert (row.p50, row.p95, row.ok, row.runs) == (50.5, 96.0, 100, 102)


def test_a_target_holds_only_when_every_run_succeeded() -> None:
    target = Target(p50=5)
    assert summarise("x", [4.0], target=target).met
    assert not summarise("x", [6.0], target=target).met
    assert not summarise("x", [4.0], 1, target=target).met
    assert not summarise("x", [], 1, target=target).met
    assert summarise("x", [4.0]).met is None


def test_ratios_are_for_times_at_most_and_for_rates_at_least() -> None:
    assert Row("x", 1, 1, 4, None, "y", 10, Target(ratio=0.5)).met
    assert not Row("x", 1, 1, 6, None, "y", 10, Target(ratio=0.5)).met
    assert Row("x", 1, 1, 9, None, "y", 10, Target(rate=0.8)).met
    assert not Row("x", 1, 1, 7, None, "y", 10, Target(rate=0.8)).met
    assert not Row("x", 1, 1, 9, target=Target(rate=0.8)).met


def test_a_line_says_what_is_missed() -> None:
    (_, line) = render([Row("create", 3, 3, 20, 30, "docker run", 200, Target(p50=15, p95=40))]).splitlines()
    assert " ".join(line.split()) == "create 3/3 20.0 30.0 docker run 200.0 0.10 p50 <= 15, p95 <= 40 NO"


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    save([Row("a", 1, 1, 10), Row("only before", 1, 1, 1)], before)
    save([Row("a", 1, 1, 5), Row("only after", 1, 1, 1)], after)
    shown = render_comparison(json.loads(before.read_text()), json.loads(after.read_text()))
    assert shown.splitlines()[1].split() == ["a", "10.0", "5.0", "0.50"]
    assert len(shown.splitlines()) == 2
