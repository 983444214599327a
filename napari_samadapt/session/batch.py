"""Adapting to labelled slices and predicting whole volumes without a window: what scripts and the CLI call.

Everything runs on the caller's thread. The live session does the same in episodes on two threads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window, auto_window, looks_like_ct, render_slice
from napari_samadapt.imaging.masks import in_one_piece, specks
from napari_samadapt.imaging.volume import SliceKey, Volume, put_slice, slice_count, take_slice
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import AdapterCard
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.fine_tune import FineTuneConfig, TrainProgress, fine_tune
from napari_samadapt.learning.neighbours import Neighbours, slice_weights
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.learning.semantic import SemanticSam, class_probabilities, likeliest_class

from .classes import LARGEST_ID, first_name

HOLD_OUT_FROM = 4
"""Labelled slices from which on one is held out for a while, to measure Dice on."""

OnStep = Callable[[TrainProgress], None]
OnSlice = Callable[[int, int], None]
"""Told the slices that are done and the slices there are."""


@dataclass(frozen=True)
class EpisodeReport:
    """One fine-tuning run: steps, seconds, the loss at its end, and Dice on the slices held out, if any."""

    steps: int
    seconds: float
    loss: float
    held_out_dice: float | None


@dataclass(frozen=True)
class AdaptReport:
    """What an adaptation did; times in seconds.

    `relation_log_condition`: the logarithm of the condition number of SAM-COBOT's relation matrix, which nothing keeps
    invertible; None where there is none.
    """

    method: str
    decoder: str
    prompts: bool
    model: str
    device: str
    seed: int
    class_ids: tuple[int, ...]
    slices: tuple[SliceKey, ...]
    trainable_parameters: int
    load_seconds: float
    predict_seconds: float
    episodes: tuple[EpisodeReport, ...]
    relation_log_condition: float | None

    @property
    def train_seconds(self) -> float:
        return sum(episode.seconds for episode in self.episodes)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: seconds, steps, trainable parameters, held-out Dice per episode, what was asked for."""
        return {
            "method": self.method,
            "decoder": self.decoder,
            "prompts": self.prompts,
            "model": self.model,
            "device": self.device,
            "seed": self.seed,
            "classes": list(self.class_ids),
            "slices": [{"axis": key.axis, "index": key.index} for key in self.slices],
            "seconds": {
                "load": self.load_seconds,
                "train": self.train_seconds,
                "predict": self.predict_seconds,
                "total": self.load_seconds + self.train_seconds + self.predict_seconds,
            },
            "steps": sum(episode.steps for episode in self.episodes),
            "trainable_parameters": self.trainable_parameters,
            "relation_log_condition": self.relation_log_condition,
            "held_out_dice": [episode.held_out_dice for episode in self.episodes],
            "episodes": [asdict(episode) for episode in self.episodes],
        }


def labelled_slices(labels: NDArray[Any], keys: Sequence[SliceKey]) -> dict[SliceKey, NDArray[np.uint16]]:
    """Copies of the named slices (H, W) of `labels` (z, y, x); nothing else of it is looked at.

    Raises SamAdaptError when none of them holds a label, or an id is above 65535.
    """
    slices = {key: take_slice(labels, key) for key in keys}
    highest = max(int(values.max()) for values in slices.values())
    if highest == 0:
        named = ", ".join(str(key.index) for key in keys)
        raise SamAdaptError(
            f"There is no label in the named slices ({named} of axis {keys[0].axis}): name slices with labels."
        )
    if highest > LARGEST_ID:
        raise SamAdaptError(f"Label id {highest} is too large: ids go from 1 to {LARGEST_ID}.")
    return {key: values.astype(np.uint16) for key, values in slices.items()}


def training_samples(
    volume: Volume, window: Window, slices: Mapping[SliceKey, NDArray[np.uint16]]
) -> tuple[TrainingSample, ...]:
    """The labelled slices with their images as SAM sees them."""
    return tuple(
        TrainingSample(key, render_slice(volume, key, window), labels.astype(np.int64))
        for key, labels in slices.items()
    )


def new_model(sam: PromptableSam, class_ids: Sequence[int], adapter: AdapterConfig, seed: int) -> SemanticSam:
    """`sam` with fresh adapters and a fresh automatic decoder; `sam` itself is changed."""
    torch.manual_seed(seed)
    adapters.insert(sam, adapter)
    return SemanticSam(sam, class_ids, adapter.decoder)


def run_episode(
    model: SemanticSam,
    samples: Sequence[TrainingSample],
    config: FineTuneConfig,
    on_step: OnStep | None = None,
    held_out: Sequence[TrainingSample] = (),
) -> EpisodeReport:
    """Fine-tune `model` in place to the end of `config`.

    Raises SamAdaptError when the loss is no longer a number.
    """
    try:
        for last in fine_tune(model, samples, config, held_out):
            if on_step is not None:
                on_step(last)
    except FloatingPointError as error:
        raise SamAdaptError(
            f"Training failed ({error}). Nothing was written; try another seed or --window."
        ) from error
    return EpisodeReport(last.step, last.seconds, last.loss, last.held_out_dice)


def predict_volume(
    model: SemanticSam,
    volume: Volume,
    axis: int,
    window: Window,
    on_slice: OnSlice | None = None,
) -> NDArray[np.uint16]:
    """The class ids (z, y, x) that `model` sees in every slice along a numpy axis; 0 is background.

    What it sees in the slices around counts for a slice too.
    """
    predicted = np.zeros(volume.shape, np.uint16)
    count = slice_count(volume.shape, axis)
    around = Neighbours(slice_weights(volume, axis, len(model.class_ids)), model.class_ids)
    for index in range(count + around.reach):
        if index < count:
            image = render_slice(volume, SliceKey(axis, index), window)
            around.put(index, class_probabilities(model, image))
        done = index - around.reach
        if done >= 0:
            labels, _ = likeliest_class(model.class_ids, around.mixed(done))
            put_slice(predicted, SliceKey(axis, done), labels)
        if on_slice is not None:
            on_slice(max(0, done + 1), count)
    return predicted


@dataclass(frozen=True, eq=False)
class Adapted:
    """An adapted model, what it predicts for the whole volume (z, y, x) uint16, and how it came about."""

    model: SemanticSam
    adapter: AdapterConfig
    prediction: NDArray[np.uint16]
    report: AdaptReport

    def as_file(
        self, window: Window, axis: str, names: Mapping[int, str]
    ) -> tuple[AdapterState, AdapterCard]:
        """What `save_adapter` writes; `axis` is axial, coronal or sagittal, `names` those of classes that have one."""
        ids, sam = self.model.class_ids, self.model.sam
        card = AdapterCard(
            base_sha256=sam.base_sha256,
            model_type=sam.model_type,
            input_size=sam.input_size,
            config=self.adapter,
            classes={class_id: names.get(class_id) or first_name(class_id) for class_id in ids},
            window=(window.low, window.high),
            axis=axis,
            held_out_dice=self.report.episodes[-1].held_out_dice,
        )
        return AdapterState(1, self.adapter, ids, adapters.state(self.model)), card


def chosen_names(card: AdapterCard) -> Mapping[int, str] | None:
    """The names of an adapter's classes, or None where nobody gave any and they are only numbers."""
    named = any(name != first_name(class_id) for class_id, name in card.classes.items())
    return card.classes if named else None


def window_for(volume: Volume, card: AdapterCard) -> Window:
    """The grey values to show an adapter on `volume`: its own in HU, where values mean the same in every CT.

    Elsewhere (MR, photographs) they are chosen for this volume, as they were for the one it learnt from.
    """
    return Window(*card.window) if looks_like_ct(volume) else auto_window(volume)


def adapt_volume(
    sam: PromptableSam,
    volume: Volume,
    slices: Mapping[SliceKey, NDArray[np.uint16]],
    *,
    adapter: AdapterConfig,
    config: FineTuneConfig,
    window: Window,
    load_seconds: float = 0.0,
    on_step: OnStep | None = None,
    on_slice: OnSlice | None = None,
) -> Adapted:
    """Adapt `sam` (changed in place) to labelled slices of one axis, and predict every slice along that axis.

    The prediction is what the saved adapter predicts again: the given slices do not count for their neighbours, as they
    do in a session. Every id in `slices` is a class; specks of the prediction are dropped for those that are in one
    piece there. From four slices on, one is held out for the first part of the training, so that the report can say how
    well a slice is predicted that was not seen. `load_seconds` goes into the report as it is.
    Raises SamAdaptError when the slices cannot be learnt from.
    """
    class_ids = sorted({int(i) for labels in slices.values() for i in np.unique(labels)} - {0})
    axis = next(iter(slices)).axis
    model = new_model(sam, class_ids, adapter, config.seed)
    samples = training_samples(volume, window, slices)
    middle = len(samples) // 2
    held_out = samples[middle : middle + 1] if len(samples) >= HOLD_OUT_FROM else ()
    training = samples[:middle] + samples[middle + len(held_out) :]
    episode = run_episode(model, training, config, on_step, held_out)
    started = perf_counter()
    prediction = predict_volume(model, volume, axis, window, on_slice)
    for class_id in in_one_piece(slices.values()):
        prediction[specks(prediction == class_id)] = 0
    report = AdaptReport(
        method=adapter.method,
        decoder=adapter.decoder,
        prompts=adapter.prompts,
        model=sam.model_type,
        device=str(sam.device),
        seed=config.seed,
        class_ids=tuple(class_ids),
        slices=tuple(slices),
        trainable_parameters=sum(tensor.numel() for tensor in adapters.trainable(model).values()),
        load_seconds=load_seconds,
        predict_seconds=perf_counter() - started,
        episodes=(episode,),
        relation_log_condition=adapters.relation_log_condition(sam),
    )
    return Adapted(model, adapter, prediction, report)
