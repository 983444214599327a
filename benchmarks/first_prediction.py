"""From accepting a slice to the first changed prediction, and a refresh after an update against a full encode.

    python benchmarks/first_prediction.py [--data ../shared/data] [--cases ct,mr] [--seconds 20] [--last-blocks K]

A real session with the bundled `mini`. The second slice is accepted while the episode of the first one runs. Printed
for each case: seconds from `Session.accept` to the first `predicted` signal of a slice whose labels changed, mean Dice
of what is predicted then and after the episodes on the slices not accepted, and the milliseconds (of the processor, so
that other programs do not count) that it takes to embed a slice in full and after an update.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from live_volumes import LiveVolume, read_live_volume

from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.session.headless import EventQueue
from napari_samadapt.session.live_model import LiveModel
from napari_samadapt.session.messages import LearningPolicy
from napari_samadapt.session.session import Session, default_adapter

PATIENCE = 600.0
SECONDS = 20.0
"""Of an episode."""


def accept(session: Session, queue: EventQueue, live: LiveVolume, key: SliceKey) -> float:
    """Paint a slice as the reference and accept it; seconds until another slice is predicted differently."""
    before, changed = session.prediction.copy(), list[SliceKey]()

    def look(shown: SliceKey) -> None:
        if not np.array_equal(take_slice(before, shown), take_slice(session.prediction, shown)):
            changed.append(shown)

    session.look_at(key)
    session.begin_edit(key)
    labels = take_slice(live.labels, key)
    plane = np.zeros(session.annotation.shape, bool)
    take_slice(plane, key)[:] = True
    z, y, x = np.nonzero(plane)
    indices = (z, y, x)
    old, new = session.annotation[indices], labels.astype(np.uint16).reshape(-1)
    session.annotation[indices] = new
    session.record_edit(indices, old, new)
    session.predicted.connect(look)
    started = time.perf_counter()
    session.accept(key)
    if not queue.run_until(lambda: bool(changed), PATIENCE):
        raise TimeoutError(f"no prediction changed within {PATIENCE:g} s of accepting slice {key.index}")
    session.predicted.disconnect(look)
    return time.perf_counter() - started


def first_predictions(live: LiveVolume, model: str, seconds: float) -> dict[str, Any]:
    """Accept two slices, the second one while the first one is learned from.

    `waited`: seconds until another slice is predicted differently, for each; `states` of learning then; `dice` after
    each on the slices not accepted, and last of all after the episodes.
    """
    queue = EventQueue()
    policy = LearningPolicy(seconds=seconds)
    session = Session(live.volume, load_sam(model), post=queue, policy=policy, classes=live.names)
    given, waited, states, dice = (live.five[2], live.five[0]), list[float](), list[str](), list[float]()
    try:
        time.sleep(
            1.0
        )  # the slice on screen and its neighbours are embedded meanwhile, as they are for a user
        for key in given:
            waited.append(accept(session, queue, live, key))
            states.append(session.learning_state)
            queue.run_until(lambda: not session.refreshing, PATIENCE)
            dice.append(live.unseen_dice(session.prediction, given))
        queue.run_until(lambda: session.learning_state == "idle" and not session.refreshing, PATIENCE)
        dice.append(live.unseen_dice(session.prediction, given))
    finally:
        session.close()
    return {"waited": waited, "states": states, "dice": dice}


def refresh_times(live: LiveVolume, sam: PromptableSam, config: AdapterConfig) -> dict[str, float]:
    """Median milliseconds of embedding a slice: in `full`, and `again` after another update of the adapter."""
    model = LiveModel(live.volume, sam)
    model.expect(config)
    keys = live.keys[:10]

    def embed_all() -> float:
        spent = []
        for key in keys:
            started = time.thread_time()
            model.embed(key, live.window)
            spent.append(time.thread_time() - started)
        return 1000 * statistics.median(spent)

    embed_all()  # the first calls of a process are slow
    model.cache.clear()
    model.prefixes.clear()
    full = embed_all()
    model.cache.clear()
    return {"full": full, "again": embed_all()}


def told(case: str, first: dict[str, Any], refresh: dict[str, float]) -> str:
    """Both on two lines."""
    slices = zip(first["waited"], first["states"], first["dice"], strict=False)
    said = [
        f"slice {count}: {waited:.2f} s ({state}), then Dice {dice:.3f}"
        for count, (waited, state, dice) in enumerate(slices, 1)
    ]
    full, again = refresh["full"], refresh["again"]
    return (
        f"{case}: {'; '.join(said)}; after the episodes {first['dice'][-1]:.3f}\n"
        f"{case}: embedding a slice {full:.0f} ms, after an update {again:.0f} ms: {again / full:.2f} x"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of an episode")
    parser.add_argument("--last-blocks", type=int, help="that are adapted; the last half of them by default")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for case in options.cases.split(","):
        live, sam = read_live_volume(case, options.data), load_sam("mini")
        config = (
            AdapterConfig(last_blocks=options.last_blocks) if options.last_blocks else default_adapter(sam)
        )
        first = first_predictions(live, "mini", options.seconds)
        print(told(case, first, refresh_times(live, sam, config)), flush=True)


if __name__ == "__main__":
    main()
