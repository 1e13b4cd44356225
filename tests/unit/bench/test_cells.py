"""Figures of cells: medians, ratios, aims, and what makes a run fail."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bench import cells, loop_cells, table
from bench.__main__ import exit_code, parse
from bench.agent_loop import LoopReport, Round
from bench.aims import Question, of_questions
from bench.jobs import Report
from bench.loop_cells import LoopSeries
from bench.measure import Peak, Series, Spent, percentile

ONE = Question(1, streamed=True, paced=False)


def series(first_ms: list[float], codex_ms: float, wrong: int = 0) -> Series:
    total_ms = [value * 2 for value in first_ms]
    found = Series()
    peaks = {"self": Peak(10.0, 5)}
    for value, total in zip(first_ms, total_ms, strict=True):
        report = Report([value], [total], 1.0, wrong, ["bad"] * wrong)
        found.add(report, Spent({"self": 1.0, "codex": codex_ms}, peaks, 1.0))
    return found


def loops(cached: int, codex_ms: float, rounds: int = 4) -> LoopSeries:
    found = LoopSeries()
    counted = {"bytes_received": 4096, "bytes_sent": 1024, "input_tokens": 1000}
    each = [Round(10.0 + k, 20.0, 100 * (k + 1), 50 * k, 5.0) for k in range(rounds)]
    spent = Spent({"self": 1.0, "codex": codex_ms * rounds}, {}, 1.0)
    found.add(LoopReport([each], 2.0), spent, counted | {"cached_tokens": cached})
    return found


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.5, 3), (0.95, 5), (1, 5), (0.25, 2)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([5, 3, 1, 4, 2], share) == expected


def test_a_cell_compares_every_side_with_the_cold_one() -> None:
    found = cells.cell({"gateway": series([12, 14, 13], 8), "cold": series([10, 10, 10], 10)}, ONE)
    assert found["sides"]["gateway"]["first_p50"] == 13
    assert found["ratios"] == {"gateway": found["ratios"]["gateway"]}
    assert found["ratios"]["gateway"]["first_p50"] == pytest.approx(1.3)
    assert found["ratios"]["gateway"]["cpu_codex"] == pytest.approx(0.8)
    assert found["added_first_ms"]["gateway"] == {"of_medians": 3, "by_round": [2, 4, 3]}
    assert found["answers"] == {"gateway": 3, "cold": 3}


def test_without_the_cold_side_there_is_nothing_to_compare_with() -> None:
    found = cells.cell({"gateway": series([12], 8)}, ONE)
    assert (found["ratios"], found["added_first_ms"]) == ({}, {})


def test_peaks_are_the_highest_of_all_rounds() -> None:
    spent = Spent()
    for memory, descriptors in ((30.0, 2), (10.0, 9)):
        spent.add(Spent({}, {"self": Peak(memory, descriptors)}, 1.0))
    figures = spent.figures(1)
    assert (figures["mb_self"], figures["fds_self"]) == (30.0, 9)


def test_figures_of_loops_are_for_each_round_and_shares_are_the_upstreams() -> None:
    figures = loops(cached=800, codex_ms=6).figures()
    assert figures["cached_share"] == 0.8
    assert figures["told_share"] == pytest.approx(300 / 1000)
    assert figures["cpu_codex"] == 6
    assert (figures["kb_received"], figures["kb_sent"], figures["rounds_s"]) == (1.0, 0.25, 2.0)


def test_a_curve_has_the_median_of_each_round() -> None:
    found = loops(0, 1)
    found.loops.append([Round(30.0, 1.0, 1, 1, 9.0)] * 4)
    found.loops.append([Round(20.0, 1.0, 1, 1, 7.0)] * 4)
    assert found.curve()["first_ms"] == [20.0] * 4
    assert found.curve()["cpu_ms"] == [7.0] * 4


@pytest.mark.parametrize(
    ("ours", "cpu", "met"),
    [(900, 6.5, [True, True]), (871, 6.0, [True, True]), (860, 6.6, [False, False])],
)
def test_the_aims(ours: int, cpu: float, met: list[bool]) -> None:
    found = loop_cells.cell(
        {"gateway": loops(ours, cpu), "kept": loops(900, 4), "cold": loops(0, 10)}, has_curve=False
    )
    assert [aim["met"] for aim in found["aims"]] == met


OURS = {"first_p50": 9.0, "total_p50": 12.0, "req_s": 100.0, "cpu_self": 3.0}
WARM = {"first_p50": 6.5, "total_p50": 9.6, "req_s": 120.0, "cpu_self": 1.0}
CONTROL = OURS | {"cpu_self": 4.5}


@pytest.mark.parametrize(
    ("question", "others", "expected"),
    [
        (ONE, {"warm": WARM}, [False, True]),
        (Question(1, streamed=False, paced=False), {"warm": WARM}, [True]),
        (Question(8, streamed=True, paced=False), {"warm": WARM, "control": CONTROL}, []),
        (
            Question(32, streamed=True, paced=False),
            {"warm": WARM, "control": CONTROL},
            [True, True],
        ),
        (Question(32, streamed=False, paced=False), {"control": CONTROL}, [False]),
        (Question(64, streamed=True, paced=True), {"warm": WARM}, [True]),
        (Question(32, streamed=True, paced=False), {"naive": {"req_s": 30.0}}, [True]),
        (Question(32, streamed=True, paced=False), {"naive": {"req_s": 0.0}}, []),
        (Question(32, streamed=True, paced=False), {"naive": {"req_s": 40.0}}, [False]),
        (ONE, {"plain-exec": {"total_p50": 170.0}, "chatmock": {"cpu_self": 2.9}}, [False, False]),
        (ONE, {"plain-exec": {"total_p50": 180.0}, "chatmock": {"cpu_self": 3.0}}, [True, True]),
    ],
)
def test_the_aims_of_questions(
    question: Question, others: dict[str, dict[str, float]], expected: list[bool]
) -> None:
    assert [aim["met"] for aim in of_questions({"gateway": OURS, **others}, question)] == expected


def test_a_cell_without_the_gateway_has_no_aims() -> None:
    assert of_questions({"warm": WARM}, ONE) == []


def test_a_side_that_failed_altogether_has_no_figures_and_breaks_nothing() -> None:
    none = LoopSeries(wrong=1, examples=["no end in time"])
    none.counted = dict.fromkeys(("bytes_received", "bytes_sent"), 0)
    none.counted |= dict.fromkeys(("input_tokens", "cached_tokens"), 0)
    found = loop_cells.cell({"gateway": none, "cold": loops(0, 10)}, has_curve=True)
    assert found["wrong"] == {"gateway": 1, "cold": 0}
    assert found["curves"]["gateway"]["first_ms"] == []


def result() -> dict[str, Any]:
    """A whole result with every part."""
    sides = {"gateway": series([12], 8), "cold": series([10], 10)}
    found = loop_cells.cell(
        {"gateway": loops(860, 6.6), "kept": loops(900, 4), "cold": loops(0, 10)}, has_curve=True
    )
    machine = dict.fromkeys(("cpu", "cores", "kernel", "python", "codex", "load_before"), 2)
    return {
        "machine": machine,
        "options": vars(parse(["--quick"])),
        "cells": {"c=1": cells.cell(sides, ONE)},
        "flood": {},
        "loops": {"one, streamed": found},
    }


def test_the_table_names_every_cell_and_says_which_aims_are_missed() -> None:
    text = table.text(result())
    assert "c=1" in text
    assert "gateway adds +2.0 ms to cold's first token" in text
    assert "plain codex exec" not in text
    assert "FAIL: cached share below the kept thread's, points: 4.00, at most 3" in text
    assert "All 14 answers were complete and right." in text


def test_only_wrong_answers_make_a_run_fail() -> None:
    assert exit_code(result()) == 0
    bad = copy.deepcopy(result())
    bad["loops"]["one, streamed"]["wrong"]["gateway"] = 1
    assert exit_code(bad) == 1
    assert "WRONG ANSWERS: 1 beside 14 right ones" in table.text(bad)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rounds", "0"],
        ["--concurrency", "1,0"],
        ["--sides", "gateway,lukewarm"],
        ["--control", "/nowhere"],
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)


def test_the_full_run_has_every_number_of_clients_and_every_side() -> None:
    options = parse(["--full"])
    assert options.concurrency == [1, 8, 32, 64, 128]
    assert options.interval_ms == [0.0, 25.0]
    assert options.sides == ["gateway", "cold", "warm", "kept", "exec"]
