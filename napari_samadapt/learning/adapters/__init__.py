"""Adapters: six verbs on a model (insert, remove, merge, state, load, twin) and the registry of methods."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from napari_samadapt.imaging.errors import SamAdaptError

from ..promptable_sam import PromptableSam
from .conv_lora import ConvLoRALinear
from .lora import LoRALinear


@dataclass(frozen=True)
class AdapterConfig:
    """The method and its numbers; `blocks` are the encoder blocks that get an adapter, None for all of them."""

    method: str = "conv-lora"
    rank: int = 3
    alpha: float = 32.0
    experts: int = 8
    blocks: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SamAdaptError(f"Unknown method {self.method!r}: use one of {', '.join(METHODS)}.")
        if self.rank < 1 or self.experts < 1:
            raise SamAdaptError(f"Rank {self.rank} and {self.experts} experts: both must be 1 or more.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a card; `AdapterConfig(**...)` gives it back."""
        return asdict(self)


Wrap = Callable[[nn.Linear, AdapterConfig], LoRALinear]

_QKV_WRAPPERS: Mapping[str, Wrap] = {
    "conv-lora": lambda base, config: ConvLoRALinear(base, config.rank, config.alpha, config.experts),
    "lora": lambda base, config: LoRALinear(base, config.rank, config.alpha),
}
METHODS = (*_QKV_WRAPPERS, "decoder-only")


@dataclass(frozen=True, eq=False)
class AdapterState:
    """Everything that was trained: named CPU clones, the method and the classes of the automatic decoder."""

    version: int
    config: AdapterConfig
    class_ids: tuple[int, ...]
    tensors: Mapping[str, Tensor]


def insert(sam: PromptableSam, config: AdapterConfig) -> None:
    """Put the method's adapters on `attn.qkv` of the encoder's blocks; every other parameter is frozen.

    Raises SamAdaptError when `sam` already has adapters or a block does not exist.
    """
    if adapters_of(sam):
        raise SamAdaptError("This model already has an adapter: remove it first.")
    sam.requires_grad_(False)
    blocks = sam.image_encoder.blocks
    chosen = range(len(blocks)) if config.blocks is None else config.blocks
    if any(not 0 <= index < len(blocks) for index in chosen):
        raise SamAdaptError(f"Blocks {tuple(chosen)} do not all exist: this encoder has {len(blocks)}.")
    wrap = _QKV_WRAPPERS.get(config.method)
    if wrap is None:
        return
    for index in chosen:
        attention = blocks[index].attn
        attention.qkv = wrap(attention.qkv, config).to(attention.qkv.weight.device).train(attention.training)


def remove(sam: PromptableSam) -> None:
    """Put the original layers back, the same objects as before `insert`."""
    for block in sam.image_encoder.blocks:
        if isinstance(block.attn.qkv, LoRALinear):
            block.attn.qkv = block.attn.qkv.base


def merge(sam: PromptableSam) -> None:
    """Replace each adapter by a plain layer that gives the same output. TypeError when a method cannot merge."""
    for block in sam.image_encoder.blocks:
        if isinstance(block.attn.qkv, LoRALinear):
            block.attn.qkv = block.attn.qkv.merged()


def adapters_of(sam: PromptableSam) -> list[LoRALinear]:
    return [module for module in sam.image_encoder.modules() if isinstance(module, LoRALinear)]


def pop_balance_loss(sam: PromptableSam) -> Tensor:
    """The sum over blocks of the load-balance terms since the last call; 0 where there is none. Clears them."""
    total = torch.zeros((), device=sam.device)
    for module in adapters_of(sam):
        if isinstance(module, ConvLoRALinear) and module.balance_loss is not None:
            total = total + module.balance_loss
            module.balance_loss = None
    return total


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


M = TypeVar("M", bound=nn.Module)


def twin(model: M) -> M:
    """A copy to train: frozen parameters and buffers are the same tensors, trainable ones exist twice."""
    shared = [p for p in model.parameters() if not p.requires_grad] + list(model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
