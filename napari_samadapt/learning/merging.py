"""A model whose adapters are merged, as a checkpoint like any other."""

from pathlib import Path

import torch

from napari_samadapt.imaging.saving import whole_file

from . import adapters
from .adapters import CannotMergeError
from .promptable_sam import PromptableSam


def save_merged(path: Path, sam: PromptableSam) -> None:
    """Merge the adapters of `sam` into its weights and write these for `torch.load`, whole or not at all.

    Raises CannotMergeError, with nothing written, where the method changes more than weights; OSError where `path`
    cannot be written.
    """
    adapters.merge(sam)
    if kept := adapters.adapters_of(sam):
        raise CannotMergeError(
            f"{type(kept[0]).__name__} becomes a plainer adapter and no weights of SAM: use the adapter file."
        )
    with whole_file(path) as stream:
        torch.save(sam.state_dict(), stream)
