"""What each command does, once its words are known: read, check every output, compute, write.

Outputs are checked before anything is computed: nobody waits two minutes for a sentence about a folder.
"""

import json
import math
import os
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

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
from napari_samadapt.console import print_report, print_simulation, progress_bars, tell
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import named_window, render_slice
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.saving import plain_reason, put_in_place
from napari_samadapt.imaging.volume import parse_slices, put_slice, take_slice
from napari_samadapt.imaging.writing import label_names
from napari_samadapt.inputs import Choices, check_base, load_model, read_ids, read_image

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
    volume = read_image(image, choices)
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
    volume = read_image(image, choices)
    keys = parse_slices(slices_text, volume)
    grey = named_window(volume, window)
    out.check(volume, image, labels, Path(model.name))

    from napari_samadapt.learning.adapter_file import save_adapter
    from napari_samadapt.learning.adapters import AdapterConfig
    from napari_samadapt.learning.fine_tune import FineTuneConfig
    from napari_samadapt.session.batch import adapt_volume, labelled_slices

    adapter = AdapterConfig.from_words(method.name, method.settings, method.decoder, prompts=True)
    config = FineTuneConfig(_DEFAULT_SECONDS if seconds is None and steps is None else seconds, steps, seed)
    ids, _ = read_ids(labels, volume, choices)
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
    volume = read_image(image, choices)
    out.check(volume, image, adapter, *([Path(model)] if model else []))

    from napari_samadapt.learning.adapter_file import load_adapter, read_adapter
    from napari_samadapt.session.batch import chosen_names, predict_volume, window_for

    _, card = read_adapter(adapter)
    grey = window_for(volume, card) if window == AS_ADAPTED else named_window(volume, window)
    base = model or card.model_type
    check_base(adapter, card, base)
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


def merge(adapter: Path, *, model: str | None, out: Path) -> None:
    """Write SAM with an adapter in its own weights, without the automatic decoder; or a plainer adapter."""
    folded = out.suffix.lower() == ".safetensors"
    check_target(out, ".safetensors" if folded else ".pth", adapter, *([Path(model)] if model else []))

    from napari_samadapt.learning.adapter_file import read_card
    from napari_samadapt.learning.merging import merge_file

    card = read_card(adapter)
    base = model or card.model_type
    check_base(adapter, card, base)
    with plain_reason(out):
        merge_file(adapter, load_model(ModelChoice(base, "cpu")), out)
    if folded:
        tell(f"{out}: {adapter.name} as a plain Adaptformer of {base}")
    else:
        tell(f"{out}: {base} with the {card.config.method} adapter of {adapter.name} merged into its weights")


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
    theirs, volume = read_ids(reference, None, choices)
    ours, _ = read_ids(prediction, volume, choices)
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
    volume = read_image(image, choices)
    grey, number = named_window(volume, window), volume.axis_from(axis) if axis else None
    true, _ = read_ids(reference, volume, choices)
    ids = [i for i in np.unique(true[true > 0]).tolist() if wanted is None or i in wanted]
    if not ids:
        raise SamAdaptError(f"{reference.name} holds no label{f' {labels}' if labels else ''}: name others.")

    from napari_samadapt.learning.adapters import AdapterConfig
    from napari_samadapt.session.classes import first_name
    from napari_samadapt.session.simulation import SimulationPlan
    from napari_samadapt.session.simulation import simulate as run_simulation

    plan = SimulationPlan(choice, slices, seconds, target, adapts, seed)
    adapter, names = (
        AdapterConfig.from_words(method.name, method.settings, method.decoder, prompts=True),
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
        told = {
            "method": method.name, "options": adapter.options, "decoder": method.decoder,
            "prompts": adapter.prompts,
        }  # fmt: skip
        learning = told if adapts else {"method": None}
        settings = {"model": model.name, **learning, "device": str(sam.device)}
        _write_json(report.expanduser(), {"run": settings, **done.as_dict()})
    print_simulation(done)


def print_json(values: dict[str, Any]) -> None:
    """Print on stdout as JSON that any reader takes."""
    tell(json.dumps(values, indent=2, allow_nan=False))


def _write_json(path: Path, values: dict[str, Any]) -> None:
    """An old report is never half a new one."""
    try:
        put_in_place(path, (json.dumps(values, indent=2) + "\n").encode())
    except OSError as error:
        raise SamAdaptError(f"{path.name} was not saved ({os.strerror(error.errno or 0)}).") from error
