"""What the dock says: what happens now, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LearningFacts:
    """What the status line is told from; seconds are of the current episode, `dice` is held out and may be
    unknown, `forecast` a sentence on the next episode, `complete` that no slice is left to accept.
    """

    state: str
    accepted: int
    adapter_version: int
    seconds: float = 0.0
    limit: float = 0.0
    dice: float | None = None
    refreshed: tuple[int, int] = (0, 0)
    forecast: str = ""
    complete: bool = False


def learning_status(facts: LearningFacts) -> str:
    """One or two sentences for the learning panel."""
    slices = f"{facts.accepted} slice{'' if facts.accepted == 1 else 's'}"
    agreement = "" if facts.dice is None else f", held-out Dice {facts.dice:.2f}"
    if facts.state == "training":
        left = max(facts.limit - facts.seconds, 0.0)
        return f"Learning from {slices}: {left:.0f} s left{agreement}. Go on working."
    if facts.state == "paused":
        return f"Paused after {facts.seconds:.0f} s{agreement}. Resume, or Stop to use what was learned."
    done, total = facts.refreshed
    if total and done < total:
        return f"Predicting the other slices: {done} of {total}. The one on screen comes first."
    return " ".join(filter(None, (_what_next(facts, slices, agreement), facts.forecast)))


def _what_next(facts: LearningFacts, slices: str, agreement: str) -> str:
    if facts.accepted == 0 and facts.state == "off":
        return "Accept slices (A), then press Start to learn from them."
    if facts.accepted == 0:
        return "The model learns from slices that you accept (A)."
    if facts.adapter_version == 0:
        return f"{slices} accepted. Press Start to learn from {'it' if facts.accepted == 1 else 'them'}."
    rest = (
        "Every slice is accepted: export the masks." if facts.complete else "Correct and accept others (N)."
    )
    return f"Learned from {slices}{agreement}. {rest}"


def volume_text(
    name: str, shape: tuple[int, int, int], spacing: tuple[float, float, float], spatial: bool
) -> str:
    """The volume in one line: name, voxels x × y × z, voxel size in mm."""
    z, y, x = shape
    voxels = f"{x} × {y}" if z == 1 else f"{x} × {y} × {z}"
    if not spatial:
        return f"{name} · {voxels} · no physical size"
    dz, dy, dx = spacing
    sizes = [f"{step:.3g}" for step in ((dx, dy) if z == 1 else (dx, dy, dz))]
    size = sizes[0] if len(set(sizes)) == 1 else " × ".join(sizes)
    return f"{name} · {voxels} · {size} mm"
