"""A model whose adapters are merged, as a checkpoint like any other; COBOT's Adaptformer as a plain adapter file."""

from dataclasses import replace
from pathlib import Path

import torch

from napari_samadapt.imaging.saving import whole_file

from . import adapters
from .adapter_file import load_adapter, read_card, save_adapter
from .adapters import AdapterState, CannotMergeError
from .adapters.adapter import replace_modules
from .adapters.adaptformer import ParallelMlp
from .promptable_sam import PromptableSam
from .sam import INPUT_SIZES, VIT_SHAPES


def save_merged(path: Path, sam: PromptableSam) -> None:
    """Write the weights of `sam` with its adapters merged into them, for `torch.load`, whole or not at all.

    `sam` is afterwards what it was. Raises CannotMergeError, with nothing written, where the method changes more than
    weights or the model takes smaller inputs than its checkpoint; OSError where `path` cannot be written.
    """
    if sam.model_type in VIT_SHAPES and sam.input_size != INPUT_SIZES[0]:
        raise CannotMergeError(
            f"This {sam.model_type} takes inputs of {sam.input_size} pixels, and its position embeddings are resized "
            f"for them: a checkpoint has those of {INPUT_SIZES[0]}. Use the adapter file."
        )
    merged = adapters.merge(sam)
    try:
        if kept := adapters.adapters_of(sam):
            raise CannotMergeError(
                f"{type(kept[0]).__name__} becomes a plainer adapter and no weights of SAM: use the adapter file."
            )
        with whole_file(path) as stream:
            torch.save(sam.state_dict(), stream)
    finally:
        adapters.unmerge(sam, merged)


def merge_file(adapter: Path, sam: PromptableSam, target: Path) -> None:
    """Write the adapter of a file merged into `sam`, its base model, which carries none and is changed.

    `target` ends in .pth for a checkpoint of SAM, else it is an adapter file: of `cobot-adaptformer` the plain
    Adaptformer that it becomes. Raises CannotMergeError, with nothing written, where the method is no change of weights
    or does not become a plainer adapter; SamAdaptError as `load_adapter` does.
    """
    if target.suffix.lower() == ".pth":
        model, _ = load_adapter(adapter, sam)
        save_merged(target, model.sam)
        return
    card = read_card(adapter)
    if card.config.method != "cobot-adaptformer":
        raise CannotMergeError(
            f"{card.config.method} does not become a plainer adapter, only cobot-adaptformer does: "
            "name a checkpoint that ends in .pth."
        )
    model, _ = load_adapter(adapter, sam)
    replace_modules(
        sam.image_encoder, lambda module: module.merged() if isinstance(module, ParallelMlp) else module
    )
    plain = replace(card.config.of_method("adaptformer"), width=card.config.width)
    state = AdapterState(0, plain, model.class_ids, adapters.state(model))
    save_adapter(target, state, replace(card, config=plain))
