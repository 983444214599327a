"""What is learned from a few slices: Dice of ours and of the peers on the other slices, and of prompted masks."""

import statistics
from collections.abc import Mapping, Sequence

from live_record import Record, Settings
from live_volumes import LiveVolume, read_live_volume
from mini_zero_shot import Asker, Tally
from peers import peers
from region_sets import regions_of

from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.session.batch import Adapted, adapt_volume

BOXES: Mapping[int, float] = {2: 30.0, 5: 60.0, 10: 60.0}
"""Seconds of learning by the number of slices given."""

RATES: Mapping[str, float] = {"conv-lora": 1e-3, "lora": 1e-3, "decoder-only": 1e-3, "full": 3e-4}
"""Our methods, the default first, and the learning rate of what they change in the encoder."""

PEERS = ("u-net", "forest", "forest-xy", "forest-sam")
LEARNERS = (*RATES, *PEERS)

PROMPTS = ("box", "1 click", "5 clicks")
OTHERS = ("ct", "mr", "brain1")
"""Volumes on which prompts are measured before and after adapting to one of them."""


def measure_few_shot(settings: Settings, record: Record) -> None:
    """Dice of every learner on the slices not given, for 2, 5 and 10 slices."""
    for case in settings.cases:
        live = read_live_volume(case, settings.data)
        for count in BOXES:
            for learner in LEARNERS:
                for seed in settings.seeds:
                    name = f"few-shot {case} {count} {learner} {seed}"
                    record.once(name, few_shot_dice, live, count, learner, seed, settings)


def few_shot_dice(live: LiveVolume, count: int, learner: str, seed: int, settings: Settings) -> float:
    """Learn from so many slices, predict all, and judge the others."""
    given, seconds = live.given(count), BOXES[count] * settings.scale
    sam = load_sam(settings.model)
    if learner in RATES:
        predicted = adapted_to(live, sam, given, learner, seconds, seed).prediction
    else:
        segment = peers(sam)[learner](live.samples(given), live.ids, seconds, seed)
        predicted = live.predict(segment)
    return live.unseen_dice(predicted, given)


def adapted_to(
    live: LiveVolume, sam: PromptableSam, given: Sequence[SliceKey], method: str, seconds: float, seed: int
) -> Adapted:
    """`sam` after one of our methods, and what it predicts."""
    config = FineTuneConfig(seconds, None, seed, adapter_rate=RATES[method])
    adapter = AdapterConfig(method, prompts=True)
    return adapt_volume(
        sam, live.volume, live.truth(given), adapter=adapter, config=config, window=live.window
    )


def few_shot_means(figures: Mapping[str, float], case: str, count: int, learner: str) -> float | None:
    """Mean over the seeds; None where nothing was measured."""
    start = f"few-shot {case} {count} {learner} "
    found = [value for name, value in figures.items() if name.startswith(start)]
    return statistics.mean(found) if found else None


def measure_prompted(settings: Settings, record: Record) -> None:
    """Dice of prompted masks on slices not given, before and after adapting to each volume with five slices."""
    volumes = {name: read_live_volume(name, settings.data) for name in OTHERS}
    for name, live in volumes.items():
        record.once(f"prompted {name} before", prompted_dice, live, load_sam(settings.model), settings)
    for case in settings.cases:
        names = {name: f"prompted {name} after {case}" for name in OTHERS}
        if all(name in record.figures for name in names.values()):
            continue
        sam, live = load_sam(settings.model), volumes[case]
        adapted_to(live, sam, live.five, next(iter(RATES)), BOXES[5] * settings.scale, settings.seeds[0])
        for name, kept_as in names.items():
            record.once(kept_as, prompted_dice, volumes[name], sam, settings)


def prompted_dice(live: LiveVolume, sam: PromptableSam, settings: Settings) -> dict[str, float]:
    """Mean Dice by prompt over every n-th region of the volume's classes on the slices that are not given."""
    tally, seen = Tally(), 0
    for key in live.keys:
        if key in live.five:
            continue
        shown = take_slice(live.labels, key)
        every = regions_of([shown == i for i in live.ids])
        regions = every[-seen % settings.every :: settings.every]
        seen += len(every)
        if regions:
            asker = Asker(sam, live.image(key), tally)
            for region in regions:
                asker.region(region)
    figures = tally.figures()
    return {prompt: figures[prompt] for prompt in PROMPTS}
