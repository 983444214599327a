"""What a run of the live benchmark measured beside what is asked, as a table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from live_learning import BOXES, LEARNERS, OTHERS, PEERS, PROMPTS, few_shot_means

Figures = Mapping[str, Any]

DEFAULT = LEARNERS[0]
ASKED_DICE = {"ct": 0.85, "mr": 0.91}
"""Of the slices not given, with 5 slices and 60 s."""


@dataclass(frozen=True)
class Row:
    """A line of the table; `met` None where nothing is asked."""

    what: str
    asked: str
    measured: str
    met: bool | None = None


def ratio_row(what: str, value: float, limit: float, shown: str = "") -> Row:
    """A ratio that may not exceed a limit."""
    return Row(what, f"≤ {limit:g} ×", f"{value:.2f} ×{shown}", value <= limit)


def few_shot_rows(figures: Figures, cases: Sequence[str], scale: float) -> Iterator[Row]:
    """Our default against what is asked of it: figures, and the peers with the same slices and seconds."""
    for count, rivals in ((5, PEERS[:1]), (2, PEERS)):
        for case in cases:
            ours = few_shot_means(figures, case, count, DEFAULT)
            theirs = {peer: few_shot_means(figures, case, count, peer) for peer in rivals}
            known = {peer: value for peer, value in theirs.items() if value is not None}
            if ours is None or not known:
                continue
            best = max(known, key=lambda peer: known[peer])
            least = ASKED_DICE[case] if count == 5 else 0.0
            asked = (f"≥ {least:g}, " if least else "") + f"> {known[best]:.3f} ({best})"
            what = f"Dice, {case}, {count} slices, {BOXES[count] * scale:g} s"
            yield Row(what, asked, f"{ours:.3f}", ours >= least and ours > known[best])


def simulate_rows(figures: Figures, cases: Sequence[str], choices: Sequence[str]) -> Iterator[Row]:
    """Simulated seconds to the target with adaptation, against those without."""
    for case in cases:
        for choice in choices:
            plain = figures.get(f"simulate {case} {choice} without")
            adapted = figures.get(f"simulate {case} {choice} with")
            if not plain or not adapted:
                continue
            what = f"simulated seconds to Dice 0.90, {case}, {choice}"
            before, after = (run["seconds_to_target"] for run in (plain, adapted))
            shown = f"{_or_more(after, adapted)} / {_or_more(before, plain)} s"
            if after is None:
                yield Row(what, "≤ 0.5 ×", shown, False)
            else:
                yield ratio_row(what, after / (before or plain["seconds"]), 0.5, f" ({shown})")


def _or_more(reached: float | None, run: Mapping[str, Any]) -> str:
    return f"{reached:.0f}" if reached is not None else f"> {run['seconds']:.0f} (Dice {run['dice']:.2f})"


def click_rows(figures: Figures, cases: Sequence[str]) -> Iterator[Row]:
    """Clicks while learning against clicks at rest; prediction on the thread against prediction here."""
    for case in cases:
        idle, learning = (figures.get(f"clicks {case} {state}") for state in ("idle", "learning"))
        if not idle or not learning:
            continue
        busy, prediction = learning["clicks"], learning["prediction"]
        for part in ("median", "p95"):
            what = f"click while learning, {part}, {case}"
            yield ratio_row(what, busy[part] / idle[part], 2.0, f" ({busy[part]:.0f} / {idle[part]:.0f} ms)")
        what = f"prediction in the worker, {case}"
        yield ratio_row(what, prediction["worker"] / prediction["main thread"], 1.3)


def first_rows(figures: Figures, cases: Sequence[str]) -> Iterator[Row]:
    """Seconds until an accepted slice is seen in the predictions of others, the longer of those measured."""
    for case in cases:
        if found := figures.get(f"first {case}"):
            longest, each = max(found["waited"]), ", ".join(f"{seconds:.2f}" for seconds in found["waited"])
            what = f"accepting a slice to the first changed prediction, {case}"
            yield Row(what, "≤ 3 s", f"{longest:.2f} s ({each})", longest <= 3.0)


def refresh_rows(figures: Figures, cases: Sequence[str]) -> Iterator[Row]:
    """A slice after an update, against a full encode."""
    for case in cases:
        if found := figures.get(f"refresh {case}"):
            full, again = found["full"], found["again"]
            what = f"refresh of a slice after an update, {case}"
            yield ratio_row(what, again / full, 0.5, f" ({again:.0f} / {full:.0f} ms)")


def memory_rows(figures: Figures) -> Iterator[Row]:
    """Peak memory of training a large network."""
    if found := figures.get("memory vit_b"):
        chosen = f"{found['device']}, the last {found['last_blocks']} blocks, {found['batch']} slices"
        what = "peak memory of training ViT-B at 1024 pixels"
        yield Row(what, "≤ 6 GB", f"{found['gb']:.1f} GB ({chosen})", found["gb"] <= 6.0)


def poison_rows(figures: Figures) -> Iterator[Row]:
    """How far Dice of what is served fell with wrong masks among those accepted."""
    for name, found in figures.items():
        if name.startswith("poison "):
            what = f"fall of Dice of what is served, ct, {name.split()[1]} masks"
            yield Row(what, "≤ 0.02", f"{found['drop']:.3f}", found["drop"] <= 0.02)


def prompted_rows(figures: Figures, cases: Sequence[str]) -> Iterator[Row]:
    """Prompted masks before and after adapting; on the other volumes it shows what was forgotten."""
    for case in cases:
        for name in OTHERS:
            before, after = (figures.get(f"prompted {name} {when}") for when in ("before", f"after {case}"))
            if before and after:
                shown = ", ".join(f"{p} {before[p]:.3f} → {after[p]:.3f}" for p in PROMPTS)
                place = "its unseen slices" if name == case else name
                yield Row(f"Dice of prompts after adapting to {case}, {place}", "", shown)


def learner_table(figures: Figures, cases: Sequence[str]) -> str:
    """Mean Dice of every learner: a line each, a column for each volume and number of slices."""
    columns = [(case, count) for case in cases for count in BOXES]
    lines = [["", *(f"{case} {count}" for case, count in columns)]]
    for learner in LEARNERS:
        values = [few_shot_means(figures, case, count, learner) for case, count in columns]
        if any(value is not None for value in values):
            lines.append([learner, *("–" if value is None else f"{value:.3f}" for value in values)])
    return _aligned(lines, str.rjust) if len(lines) > 1 else ""


def asked_table(rows: Sequence[Row]) -> str:
    """Each row with what is asked and whether it is met."""
    marks = {None: "", True: "yes", False: "NO"}
    lines = [["what", "asked", "measured", "met"]]
    lines += [[row.what, row.asked, row.measured, marks[row.met]] for row in rows]
    return _aligned(lines, str.ljust)


def _aligned(lines: Sequence[Sequence[str]], place: Callable[[str, int], str]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(place, line[1:], widths[1:])]).rstrip() for line in lines
    )
