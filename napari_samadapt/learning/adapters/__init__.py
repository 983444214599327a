"""Adapters: seven verbs on a model (insert, remove, merge, unmerge, state, load, twin); `METHODS` names the methods."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_samadapt.imaging.errors import SamAdaptError

from ..promptable_sam import PromptableSam
from .adapter import Adapter, CannotMergeError, Sites, original, replace_modules, twin
from .cobot import Relation, Slot
from .config import ATTACH, METHODS, AdapterConfig
from .conv_lora import ConvLoRALinear, balance_loss_of
from .tuned import attach_to_mask_decoder

__all__ = [
    "METHODS",
    "AdapterConfig",
    "AdapterState",
    "CannotMergeError",
    "adapters_of",
    "change_embeddings",
    "first_changed_block",
    "frozen_blocks",
    "insert",
    "learning_rates",
    "load",
    "merge",
    "pop_balance_loss",
    "relation_log_condition",
    "remove",
    "state",
    "trainable",
    "tune_prompts",
    "twin",
    "unmerge",
]

MASK_DECODER_RATE = 0.1
"""Of the adapters' learning rate."""


@dataclass(frozen=True, eq=False)
class AdapterState:
    """Everything that was trained: named CPU clones, the method and the classes of the automatic decoder."""

    version: int
    config: AdapterConfig
    class_ids: tuple[int, ...]
    tensors: Mapping[str, Tensor]


def insert(sam: PromptableSam, config: AdapterConfig) -> None:
    """Put the method's adapters into the encoder, with `prompts` into the mask decoder too.

    Every parameter that was there is frozen and never written to.

    Raises SamAdaptError when `sam` already has adapters, a block does not exist or the options do not fit; nothing is
    changed then.
    """
    if adapters_of(sam):
        raise SamAdaptError("This model already has an adapter: remove it first.")
    encoder = sam.image_encoder
    every = tuple(range(len(encoder.blocks)))
    first = len(every) - (config.last_blocks or len(every))
    chosen = tuple(range(first, len(every))) if config.blocks is None else config.blocks
    if not chosen or not set(chosen) <= set(every):
        raise SamAdaptError(
            f"Blocks {tuple(chosen)} do not all exist: this encoder has {len(encoder.blocks)}."
        )
    sam.requires_grad_(False)
    weight = encoder.neck[0].weight
    try:
        everywhere = config.blocks is None and config.last_blocks is None
        ATTACH[config.method](Sites(encoder, chosen, everywhere), **config.options)
        if config.prompts:
            attach_to_mask_decoder(sam.mask_decoder)
    except Exception:
        remove(sam)
        raise
    for adapter in adapters_of(sam):
        adapter.to(weight.device, weight.dtype).train(sam.training)


def remove(sam: PromptableSam) -> None:
    """Put the original modules back, the same objects as before `insert`."""
    for part in _parts(sam):
        replace_modules(part, original)


def merge(sam: PromptableSam) -> dict[nn.Module, nn.Module]:
    """Replace each adapter by plain weights, or COBOT's Adaptformer by a plain one, with the same output.

    No frozen tensor is written to. Returns what `unmerge` takes. Raises CannotMergeError where a method cannot merge;
    nothing is changed then.
    """
    merged: dict[nn.Module, nn.Module] = {adapter: adapter.merged() for adapter in adapters_of(sam)}
    _exchange(sam, merged)
    return {plain: adapter for adapter, plain in merged.items()}


def unmerge(sam: PromptableSam, merged: Mapping[nn.Module, nn.Module]) -> None:
    """Put the adapters back that `merge` replaced: the same objects, over the same frozen tensors."""
    _exchange(sam, merged)


def _exchange(sam: PromptableSam, others: Mapping[nn.Module, nn.Module]) -> None:
    """Put other modules in the place of some."""
    for part in _parts(sam):
        replace_modules(part, lambda module: others.get(module, module))


def adapters_of(sam: PromptableSam) -> list[Adapter]:
    """The adapters in the encoder and the mask decoder, outer ones first."""
    return [adapter for part in _parts(sam) for adapter in _adapters_in(part)]


def change_embeddings(sam: PromptableSam) -> bool:
    """Whether there are adapters in the encoder."""
    return bool(_adapters_in(sam.image_encoder))


def tune_prompts(sam: PromptableSam) -> bool:
    """Whether there are adapters in the mask decoder."""
    return bool(_adapters_in(sam.mask_decoder))


def _adapters_in(part: nn.Module) -> list[Adapter]:
    return [module for module in part.modules() if isinstance(module, Adapter)]


def _parts(sam: PromptableSam) -> tuple[nn.Module, nn.Module]:
    return sam.image_encoder, sam.mask_decoder


def first_changed_block(sam: PromptableSam) -> int:
    """How many of the first blocks work as without adapters: what `encode_prefix` gives there never changes.

    -1 where adapters change the patch embedding already.
    """
    encoder = sam.image_encoder
    if any(isinstance(module, Adapter) for module in encoder.patch_embed.modules()):
        return -1
    blocks = [encoder.blocks] if isinstance(encoder.blocks, Adapter) else list(encoder.blocks)
    changed = [any(isinstance(module, Adapter) for module in block.modules()) for block in blocks]
    return changed.index(True) if any(changed) else len(changed)


def frozen_blocks(sam: PromptableSam, config: AdapterConfig) -> int:
    """What `first_changed_block` would be with the adapters of a method; `sam` is not changed."""
    trial = twin(sam)
    remove(trial)
    insert(trial, config)
    return first_changed_block(trial)


def pop_balance_loss(sam: PromptableSam) -> Tensor:
    """The sum over blocks of the last forward's load-balance terms; 0 where there is none. Clears them."""
    layers = [module for module in adapters_of(sam) if isinstance(module, ConvLoRALinear)]
    total = balance_loss_of(layers)
    for layer in layers:
        layer.scores = None
    return torch.zeros((), device=sam.device) if total is None else total


def learning_rates(model: nn.Module) -> dict[str, float]:
    """Parameters that learn at another rate than the rest, with its factor.

    These are gamma in COBOT's official preset, and the mask decoder, which forgets other volumes at a higher rate.
    """
    gammas = {
        f"{name}.gamma": slot.gamma_rate
        for name, slot in model.named_modules()
        if isinstance(slot, Slot) and slot.gamma_rate != 1
    }
    return gammas | {
        name: MASK_DECODER_RATE for name in trainable(model) if name.startswith("sam.mask_decoder.")
    }


def relation_log_condition(sam: PromptableSam) -> float | None:
    """The logarithm of the condition number of COBOT's relation matrix; None where there is none."""
    return next((module.log_condition for module in sam.modules() if isinstance(module, Relation)), None)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """What the optimiser and an adapter file hold alike: the parameters that are not frozen."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def state(model: nn.Module) -> dict[str, Tensor]:
    """CPU clones of the trainable parameters."""
    return {name: parameter.detach().cpu().clone() for name, parameter in trainable(model).items()}


@torch.no_grad()
def load(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy trained tensors into the model's trainable parameters.

    Raises SamAdaptError when names or shapes differ; nothing is copied then.
    """
    parameters = trainable(model)
    wrong = sorted(set(parameters) ^ set(tensors)) or [
        name for name, parameter in parameters.items() if parameter.shape != tensors[name].shape
    ]
    if wrong:
        raise SamAdaptError(
            f"The adapter does not fit this model: {len(wrong)} tensors differ in name or shape (first: {wrong[0]})."
        )
    for name, parameter in parameters.items():
        parameter.copy_(tensors[name])
