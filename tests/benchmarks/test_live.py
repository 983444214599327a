"""What the live benchmark gives, keeps and says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import live_annotating
import numpy as np
import pytest
from live import PARTS, parse_options, tables
from live_learning import LEARNERS, few_shot_means
from live_record import Record, Settings, brief
from live_table import (
    click_rows,
    few_shot_rows,
    first_rows,
    learner_table,
    memory_rows,
    poison_rows,
    prompted_rows,
    refresh_rows,
    simulate_rows,
)
from live_volumes import LiveVolume

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, Source, Volume

SETTINGS = Settings(Path("data"), "mini", ("ct", "mr"), ("suggested",), (0,), 2, 1.0, 3)


def volume_of(labels: np.ndarray) -> LiveVolume:
    """A volume with these labels; slices 1, 3, 5, 7, 8 are the five to give."""
    volume = Volume(labels.astype(np.float32), np.eye(4), Source(None, "memory"))
    five = tuple(SliceKey(0, index) for index in (1, 3, 5, 7, 8))
    return LiveVolume("ct", volume, labels, (1, 2), Window(0, 1), five)


@pytest.mark.parametrize(("count", "expected"), [(2, [2, 7]), (5, [1, 3, 5, 7, 8]), (10, list(range(10)))])
def test_the_slices_given_are_spread(count: int, expected: list[int]) -> None:
    live = volume_of(np.ones((10, 2, 2), int))
    assert [key.index for key in live.given(count)] == expected


def test_only_slices_that_were_not_given_are_judged() -> None:
    labels = np.ones((10, 2, 2), int)
    labels[:, 1] = 2
    live, predicted = volume_of(labels), labels.copy()
    predicted[[1, 3, 5, 7, 8]] = 0
    assert live.unseen_dice(predicted, live.five) == 1
    predicted[[0, 2, 4, 6, 9], 1] = 0
    assert live.unseen_dice(predicted, live.five) == 0.5


def test_a_prediction_is_made_slice_by_slice() -> None:
    labels = np.ones((10, 2, 3), int)
    labels[4:] = 2
    live = volume_of(labels)
    assert np.array_equal(live.predict(lambda image: (image >= 1).astype(np.uint16)), np.ones_like(labels))


def test_a_figure_is_measured_once_and_kept(tmp_path: Path) -> None:
    path, calls = tmp_path / "live.json", list[int]()
    for _ in range(2):
        record = Record(path, SETTINGS)
        record.once("a", lambda value: calls.append(value) or {"dice": value / 2}, 1)
    assert calls == [1]
    assert Record(path, replace(SETTINGS, cases=("ct",), seeds=(1,))).figures == {"a": {"dice": 0.5}}


def test_a_report_of_another_run_is_refused(tmp_path: Path) -> None:
    Record(tmp_path / "live.json", SETTINGS).once("a", float, 1)
    with pytest.raises(SystemExit, match="name another --report"):
        Record(tmp_path / "live.json", replace(SETTINGS, scale=0.5))


def test_a_figure_in_brief() -> None:
    assert brief({"dice": 0.98765, "slices": 3, "curve": [1, 2], "inner": {"p95": 1.0}}) == (
        "dice 0.988, slices 3, inner p95 1.000"
    )


def few_shot(**by_learner: tuple[float, ...]) -> dict[str, float]:
    """Figures of 5 slices of the CT, one for each seed."""
    return {
        f"few-shot ct 5 {learner.replace('_', '-')} {seed}": value
        for learner, values in by_learner.items()
        for seed, value in enumerate(values)
    }


def test_dice_is_the_mean_over_the_seeds_of_that_learner_alone() -> None:
    figures = few_shot(forest=(0.5, 0.7), forest_xy=(0.9,)) | {"few-shot ct 50 forest 0": 0.1}
    assert few_shot_means(figures, "ct", 5, "forest") == pytest.approx(0.6)
    assert few_shot_means(figures, "mr", 5, "forest") is None


@pytest.mark.parametrize(
    ("ours", "u_net", "met"), [(0.86, 0.80, True), (0.84, 0.80, False), (0.86, 0.87, False)]
)
def test_five_slices_are_asked_for_a_figure_and_to_beat_the_u_net(
    ours: float, u_net: float, met: bool
) -> None:
    figures = few_shot(conv_lora=(ours,), u_net=(u_net,), forest_sam=(0.99,))
    (row,) = few_shot_rows(figures, ("ct", "mr"), 1.0)
    assert (row.what, row.asked, row.met) == (
        "Dice, ct, 5 slices, 60 s",
        f"≥ 0.85, > {u_net:.3f} (u-net)",
        met,
    )


@pytest.mark.parametrize(("ours", "met"), [(0.71, True), (0.69, False)])
def test_two_slices_are_asked_to_beat_every_peer(ours: float, met: bool) -> None:
    figures = {
        f"few-shot mr 2 {name} 0": value
        for name, value in (("conv-lora", ours), ("u-net", 0.5), ("forest-xy", 0.7))
    }
    (row,) = few_shot_rows(figures, ("ct", "mr"), 0.5)
    assert (row.what, row.asked, row.met) == ("Dice, mr, 2 slices, 15 s", "> 0.700 (forest-xy)", met)


def run(reached: float | None, seconds: float, dice: float = 0.9) -> dict[str, Any]:
    return {"seconds_to_target": reached, "seconds": seconds, "dice": dice}


@pytest.mark.parametrize(
    ("plain", "adapted", "measured", "met"),
    [
        (run(1000, 1000), run(400, 400), "0.40 × (400 / 1000 s)", True),
        (run(1000, 1000), run(600, 600), "0.60 × (600 / 1000 s)", False),
        (run(None, 3600, 0.7), run(400, 400), "0.11 × (400 / > 3600 (Dice 0.70) s)", True),
        (run(1000, 1000), run(None, 1000, 0.88), "> 1000 (Dice 0.88) / 1000 s", False),
    ],
)
def test_simulated_seconds(plain: dict[str, Any], adapted: dict[str, Any], measured: str, met: bool) -> None:
    figures = {"simulate ct random without": plain, "simulate ct random with": adapted}
    (row,) = simulate_rows(figures, ("ct", "mr"), ("suggested", "random"))
    assert (row.measured, row.met) == (measured, met)


def test_clicks_and_the_worker() -> None:
    figures = {
        "clicks ct idle": {"median": 10.0, "p95": 40.0},
        "clicks ct learning": {
            "clicks": {"median": 19.0, "p95": 90.0},
            "prediction": {"worker": 1.2, "main thread": 1.0},
        },
    }
    rows = list(click_rows(figures, ("ct", "mr")))
    assert [row.met for row in rows] == [True, False, True]
    assert rows[1].measured == "2.25 × (90 / 40 ms)"


@pytest.mark.parametrize(("seconds", "met"), [((0.5, 2.9), True), ((3.1, 0.5), False)])
def test_the_longest_wait_for_a_first_prediction_counts(seconds: tuple[float, ...], met: bool) -> None:
    (row,) = first_rows({"first mr": {"waited": seconds, "states": [], "dice": []}}, ("ct", "mr"))
    assert (row.measured.split(" (")[0], row.met) == (f"{max(seconds):.2f} s", met)


@pytest.mark.parametrize(("again", "met"), [(25.0, True), (26.0, False)])
def test_a_refresh(again: float, met: bool) -> None:
    (row,) = refresh_rows({"refresh ct": {"full": 50.0, "again": again}}, ("ct", "mr"))
    assert (row.measured, row.met) == (f"{again / 50:.2f} × ({again:.0f} / 50 ms)", met)


@pytest.mark.parametrize(("gb", "met"), [(5.9, True), (6.1, False)])
def test_memory(gb: float, met: bool) -> None:
    figures = {"memory vit_b": {"gb": gb, "device": "cpu", "last_blocks": 6, "batch": 2}}
    (row,) = memory_rows(figures)
    assert (row.measured, row.met) == (f"{gb} GB (cpu, the last 6 blocks, 2 slices)", met)


def test_first_refresh_and_memory_are_measured_for_each_case_and_seen_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def stub(name: str, figure: dict[str, Any]) -> None:
        monkeypatch.setattr(live_annotating, name, lambda *given: asked.append((name, *given)) or figure)

    monkeypatch.setattr(live_annotating, "read_live_volume", lambda case, data: case)
    monkeypatch.setattr(live_annotating, "load_sam", lambda model: model)
    monkeypatch.setattr(live_annotating, "default_adapter", lambda sam: "half")
    stub("first_predictions", {"waited": [1.25], "states": ["idle"], "dice": [0.5, 0.6]})
    stub("refresh_times", {"full": 50.0, "again": 20.0})
    stub("training_memory", {"gb": 4.5, "device": "cuda", "last_blocks": 6, "batch": 4})
    settings = replace(SETTINGS, scale=0.5)
    record = Record(tmp_path / "live.json", settings)
    for part in ("first", "refresh", "memory"):
        PARTS[part](settings, record)
    assert asked == [
        ("first_predictions", "ct", "mini", 10.0), ("first_predictions", "mr", "mini", 10.0),
        ("refresh_times", "ct", "mini", "half"), ("refresh_times", "mr", "mini", "half"),
        ("training_memory", "vit_b", 2),
    ]  # fmt: skip
    shown = tables(settings, record)
    assert [shown.count(measured) for measured in ("1.25 s", "0.40 ×", "4.5 GB")] == [2, 2, 1]


@pytest.mark.parametrize(("drop", "met"), [(0.02, True), (0.021, False)])
def test_wrong_masks(drop: float, met: bool) -> None:
    (row,) = poison_rows({"poison inverted": {"drop": drop, "scores": [0.8, 0.8 - drop]}})
    assert (row.measured, row.met) == (f"{drop:.3f}", met)


def test_prompts_are_asked_for_nothing() -> None:
    dice = dict.fromkeys(("box", "1 click", "5 clicks"), 0.5)
    figures = {"prompted mr before": dice, "prompted mr after ct": dice, "prompted ct before": dice}
    (row,) = prompted_rows(figures, ("ct",))
    assert row.what == "Dice of prompts after adapting to ct, mr"
    assert row.met is None


def test_the_tables_show_what_is_known(tmp_path: Path) -> None:
    record = Record(tmp_path / "live.json", SETTINGS)
    assert tables(SETTINGS, record).split() == ["what", "asked", "measured", "met"]
    record.figures |= few_shot(conv_lora=(0.9,), u_net=(0.8,))
    assert learner_table(record.figures, ("ct",)).splitlines()[1].split() == ["conv-lora", "–", "0.900", "–"]
    assert "yes" in tables(SETTINGS, record)


def test_the_default_is_the_first_learner() -> None:
    assert LEARNERS[0] == "conv-lora"
    assert len(set(LEARNERS)) == len(LEARNERS) == 8


def test_options() -> None:
    parts, report, settings = parse_options(
        ["--parts", "clicks", "--cases", "mr", "--seeds", "1,2", "--scale", ".5"]
    )
    assert (parts, report) == (("clicks",), Path("live.json"))
    assert (settings.cases, settings.seeds, settings.scale) == (("mr",), (1, 2), 0.5)
    assert parse_options([])[0] == tuple(PARTS)


@pytest.mark.parametrize("words", [["--parts", "all"], ["--cases", "ct,brain1"], ["--choices", "best"]])
def test_unknown_words_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(words)
