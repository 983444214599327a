"""What each command does, once its words are known: read, check every output, compute, write.

Outputs are checked before anything is computed: nobody waits two minutes for a sentence about a folder.
"""

import json
import math
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_samadapt.arguments import (
    AdaptOutputs,
    MaskOutput,
    MethodChoice,
    ModelChoice,
    check_target,
    one_slice,
    parse_ids,
    parse_prompts,
)
from napari_samadapt.console import note, print_report, print_simulation, progress_bars, tell
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import named_window, render_slice
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import Volume, parse_slices, put_slice, take_slice
from napari_samadapt.imaging.writing import label_names

if TYPE_CHECKING:
    from napari_samadapt.learning.adapter_file import AdapterCard
    from napari_samadapt.learning.promptable_sam import PromptableSam

Choices = Mapping[str, str]
"""Answers to what the readers ask: name of the question, value of a choice."""

AS_ADAPTED = "adapter"
"""The window of `predict` that follows the adapter's card."""

_DEFAULT_SECONDS = 60.0


def segment(
    image: Path,
    *,
    slice_text: str,
    points: list[str],
    box: str | None,
    model: ModelChoice,
    label: int,
    window: str,
    out: MaskOutput,
    choices: Choices,
) -> None:
    """Write the mask that the prompts ask for on one slice; every other voxel is 0."""
    prompts = parse_prompts(points, box)
    volume = _read_image(image, choices)
    key = one_slice(slice_text, volume)
    height, width = take_slice(volume.data, key).shape[:2]
    prompts.check_inside((height, width))
    grey = named_window(volume, window)
    out.check(volume, image, Path(model.name))

    from napari_samadapt.learning.close_up import cut, decode_closely
    from napari_samadapt.learning.predict import encode_slice

    sam = load_model(model)
    shown = render_slice(volume, key, grey)
    prediction = decode_closely(
        sam, encode_slice(sam, shown), prompts, lambda part: encode_slice(sam, cut(shown, part))
    )

    labels = np.zeros(volume.shape, np.uint16)
    put_slice(labels, key, np.where(prediction.mask, label, 0))
    out.write(labels, volume)
    pixels = int(prediction.mask.sum())
    tell(f"{out.path}: {pixels} pixels of label {label}, predicted IoU {prediction.score:.2f}")


def adapt(
    image: Path,
    labels: Path,
    *,
    slices_text: str,
    method: MethodChoice,
    model: ModelChoice,
    seconds: float | None,
    steps: int | None,
    seed: int,
    window: str,
    out: AdaptOutputs,
    choices: Choices,
) -> None:
    """Adapt to the named slices of a label file; write the prediction, the adapter and a report if asked."""
    started = perf_counter()
    volume = _read_image(image, choices)
    keys = parse_slices(slices_text, volume)
    grey = named_window(volume, window)
    out.check(volume, image, labels, Path(model.name))

    from napari_samadapt.learning.adapter_file import save_adapter
    from napari_samadapt.learning.adapters import AdapterConfig
    from napari_samadapt.learning.fine_tune import FineTuneConfig
    from napari_samadapt.session.batch import adapt_volume, labelled_slices

    adapter = AdapterConfig.from_words(method.name, method.settings, method.decoder)
    config = FineTuneConfig(_DEFAULT_SECONDS if seconds is None and steps is None else seconds, steps, seed)
    ids, _ = _read_ids(labels, volume, choices)
    slices = labelled_slices(ids, keys)
    sam = load_model(model)
    with progress_bars() as bars:
        adapted = adapt_volume(
            sam,
            volume,
            slices,
            adapter=adapter,
            config=config,
            window=grey,
            load_seconds=perf_counter() - started,
            on_step=lambda step: bars.show("Learning", step.fraction, 1),
            on_slice=lambda done, count: bars.show("Predicting", done, count),
        )
    names = label_names(labels)
    state, card = adapted.as_file(grey, volume.axis_name(keys[0].axis), names)
    out.prediction.write(adapted.prediction, volume, names or None)
    if out.adapter is not None:
        save_adapter(out.adapter.expanduser(), state, card)
    if out.report is not None:
        _write_json(out.report.expanduser(), adapted.report.as_dict())
    report = adapted.report
    classes, steps_done = len(report.class_ids), report.episodes[0].steps
    tell(f"{out.prediction.path}: {classes} labels after {steps_done} steps in {report.train_seconds:.0f} s")


def predict(
    image: Path,
    *,
    adapter: Path,
    model: str | None,
    device: str | None,
    window: str,
    out: MaskOutput,
    choices: Choices,
) -> None:
    """Write the ids that a saved adapter predicts in every slice along the axis it was made for."""
    volume = _read_image(image, choices)
    out.check(volume, image, adapter, *([Path(model)] if model else []))

    from napari_samadapt.learning.adapter_file import load_adapter, read_adapter
    from napari_samadapt.session.batch import chosen_names, predict_volume, window_for

    _, card = read_adapter(adapter)
    grey = window_for(volume, card) if window == AS_ADAPTED else named_window(volume, window)
    base = model or card.model_type
    _check_base(adapter, card, base)
    sam = load_model(ModelChoice(base, device, card.input_size))
    semantic, _ = load_adapter(adapter, sam)
    with progress_bars() as bars:
        prediction = predict_volume(
            semantic,
            volume,
            volume.anatomical_axis(card.axis),
            grey,
            lambda done, count: bars.show("Predicting", done, count),
        )
    out.write(prediction, volume, chosen_names(card))
    tell(f"{out.path}: {np.count_nonzero(np.unique(prediction))} of {len(card.classes)} labels found")


def evaluate(
    prediction: Path,
    reference: Path,
    *,
    labels: str | None,
    exclude_slices: str | None,
    as_json: bool,
    choices: Choices,
) -> None:
    """Print how well two label files agree, as a table or as JSON."""
    ids = parse_ids(labels) if labels else None
    theirs, volume = _read_ids(reference, None, choices)
    ours, _ = _read_ids(prediction, volume, choices)
    excluded = parse_slices(exclude_slices, volume) if exclude_slices else ()
    report = label_report(ours, theirs, volume.spacing, ids, excluded)
    if all(math.isnan(row.dice) for row in report.rows):
        which = f"label {labels}" if labels else "a label"
        where = " outside the excluded slices" if excluded else ""
        raise SamAdaptError(f"Neither file holds {which}{where}: there is nothing to compare.")
    if as_json:
        print_json(report.as_dict())
    else:
        print_report(report)


def simulate(
    image: Path,
    reference: Path,
    *,
    labels: str | None,
    model: ModelChoice,
    method: MethodChoice,
    choice: str,
    slices: int | None,
    seconds: float,
    target: float,
    adapts: bool,
    seed: int,
    axis: str | None,
    window: str,
    report: Path | None,
    choices: Choices,
) -> None:
    """Let a simulated annotator work towards a label file; print Dice against time, and write it if asked."""
    wanted = parse_ids(labels) if labels else None
    check_target(report, ".json", image, reference, Path(model.name))
    volume = _read_image(image, choices)
    grey, number = named_window(volume, window), volume.axis_from(axis) if axis else None
    true, _ = _read_ids(reference, volume, choices)
    ids = [i for i in np.unique(true[true > 0]).tolist() if wanted is None or i in wanted]
    if not ids:
        raise SamAdaptError(f"{reference.name} holds no label{f' {labels}' if labels else ''}: name others.")

    from napari_samadapt.learning.adapters import AdapterConfig
    from napari_samadapt.session.classes import first_name
    from napari_samadapt.session.simulation import SimulationPlan
    from napari_samadapt.session.simulation import simulate as run_simulation

    plan = SimulationPlan(choice, slices, seconds, target, adapts, seed)
    adapter, names = (
        AdapterConfig.from_words(method.name, method.settings, method.decoder),
        label_names(reference),
    )
    sam = load_model(model)
    with progress_bars() as bars:
        done = run_simulation(
            volume,
            true,
            sam,
            plan,
            names={class_id: names.get(class_id) or first_name(class_id) for class_id in ids},
            window=grey,
            axis=number,
            adapter=adapter,
            on_point=lambda point: bars.show("Annotating", min(point.seconds, seconds), seconds),
        )
    if report is not None:
        told = {"method": method.name, "options": adapter.options, "decoder": method.decoder}
        learning = told if adapts else {"method": None}
        settings = {"model": model.name, **learning, "device": str(sam.device)}
        _write_json(report.expanduser(), {"run": settings, **done.as_dict()})
    print_simulation(done)


def print_json(values: dict[str, Any]) -> None:
    """Print on stdout as JSON that any reader takes."""
    tell(json.dumps(values, indent=2, allow_nan=False))


def load_model(model: ModelChoice) -> "PromptableSam":
    """The SAM that was chosen; missing weights are downloaded.

    Raises SamAdaptError for an unknown name, a bad file, or a device that is not here.
    """
    import torch

    from napari_samadapt.learning.checkpoints import CHECKPOINTS, checkpoint_path
    from napari_samadapt.learning.download import download
    from napari_samadapt.learning.sam import best_device, load_sam

    name, chosen = model.name, model.device or best_device()
    try:
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise SamAdaptError(f"There is no device {chosen} here: use cpu, or leave --device out.") from error
    if name in CHECKPOINTS and not checkpoint_path(name).is_file():
        note(f"Downloading the weights of {name}, once, to {checkpoint_path(name).parent}")
        with progress_bars() as bars:
            download(CHECKPOINTS[name], lambda done, total: bars.show(name, done, total))
    return load_sam(name, device=chosen, input_size=model.input_size)


def _check_base(adapter: Path, card: "AdapterCard", name: str) -> None:
    """Raises SamAdaptError where `name` is published weights that the adapter was not made for: no download then."""
    from napari_samadapt.learning.checkpoints import CHECKPOINTS

    if name not in CHECKPOINTS or CHECKPOINTS[name].sha256 == card.base_sha256:
        return
    instead = "" if name == card.model_type else "leave --model out or "
    raise SamAdaptError(
        f"{adapter.name} was made for {card.model_type} with checkpoint {card.base_sha256[:12]}…, not for the "
        f"published {name} ({CHECKPOINTS[name].sha256[:12]}…): {instead}give --model FILE, the weights it was made for."
    )


def _read_image(path: Path, choices: Choices) -> Volume:
    """The volume, with what its reader wants the user to know on stderr."""
    volume = read_volume(path, choices=choices)
    _tell_notes(volume)
    return volume


def _read_ids(path: Path, reference: Volume | None, choices: Choices) -> tuple[NDArray[Any], Volume]:
    """The ids of a label file and its volume, with what its reader wants the user to know on stderr."""
    ids, volume = read_labels(path, reference, choices=choices)
    _tell_notes(volume)
    return ids, volume


def _tell_notes(volume: Volume) -> None:
    for sentence in volume.source.notes:
        note(sentence)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    """Write to a temporary file first, so that an old report is never half a new one."""
    part = path.with_name(f".{secrets.token_hex(6)}.part")
    try:
        part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise SamAdaptError(f"{path.name} was not saved ({os.strerror(error.errno or 0)}).") from error
