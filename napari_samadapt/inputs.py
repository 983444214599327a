"""What the commands start from: images, labels and models, read and told of on stderr."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_samadapt.arguments import ModelChoice
from napari_samadapt.console import note, progress_bars
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import Volume

if TYPE_CHECKING:
    from napari_samadapt.learning.adapter_file import AdapterCard
    from napari_samadapt.learning.promptable_sam import PromptableSam

Choices = Mapping[str, str]
"""Answers to what the readers ask: name of the question, value of a choice."""


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


def check_base(adapter: Path, card: "AdapterCard", name: str) -> None:
    """Raises SamAdaptError where `name` is published weights that the adapter was not made for: no download then."""
    from napari_samadapt.learning.checkpoints import CHECKPOINTS

    if name not in CHECKPOINTS or CHECKPOINTS[name].sha256 == card.base_sha256:
        return
    instead = "" if name == card.model_type else "leave --model out or "
    raise SamAdaptError(
        f"{adapter.name} was made for {card.model_type} with checkpoint {card.base_sha256[:12]}…, not for the "
        f"published {name} ({CHECKPOINTS[name].sha256[:12]}…): {instead}give --model FILE, the weights it was made for."
    )


def read_image(path: Path, choices: Choices) -> Volume:
    """The volume, with what its reader wants the user to know on stderr."""
    volume = read_volume(path, choices=choices)
    _tell_notes(volume)
    return volume


def read_ids(path: Path, reference: Volume | None, choices: Choices) -> tuple[NDArray[Any], Volume]:
    """The ids of a label file and its volume, with what its reader wants the user to know on stderr."""
    ids, volume = read_labels(path, reference, choices=choices)
    _tell_notes(volume)
    return ids, volume


def _tell_notes(volume: Volume) -> None:
    for sentence in volume.source.notes:
        note(sentence)
