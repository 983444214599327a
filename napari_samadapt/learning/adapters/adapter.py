"""What every adapter is: a module that stands in the place of another, and keeps it as `base`."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from napari_samadapt.imaging.errors import SamAdaptError


class CannotMergeError(SamAdaptError, TypeError):
    """What the method adds is not a change of weights."""


class Adapter(nn.Module):
    """Stands for the frozen module `base` and adds what is trained; removing it puts `base` back.

    Subclasses set `base`, give the output of `base` changed, and either override `merged` or say in `kept_because`
    what they add that is no change of weights.
    """

    kept_because: ClassVar[str] = ""
    base: nn.Module

    def merged(self) -> nn.Module:
        """A module with the same output and nothing trained apart. It shares no tensor that differs from `base`.

        Raises CannotMergeError where there is none.
        """
        raise CannotMergeError(
            f"This adapter cannot be merged into the weights: {self.kept_because}. Save it as an adapter file instead."
        )


class Stack(Adapter):
    """Stands for the encoder's whole list of blocks, as a list of one: itself."""

    base: nn.ModuleList

    def __iter__(self) -> Any:
        return iter((self,))


@dataclass(frozen=True)
class Sites:
    """Where a method may attach: the image encoder and the chosen blocks.

    `everywhere`: all blocks were chosen, so that layers outside them take part too.
    """

    encoder: Any
    indices: tuple[int, ...]
    everywhere: bool

    @property
    def blocks(self) -> list[Any]:
        """The chosen blocks, in the order of the encoder."""
        return [self.encoder.blocks[index] for index in self.indices]


def wrap(parent: nn.Module, path: str, make: Callable[..., Adapter], *arguments: object) -> None:
    """Put `make(module, *arguments)` in the place of the module at `path` below `parent`."""
    owner, _, name = path.rpartition(".")
    place = parent.get_submodule(owner)
    setattr(place, name, make(getattr(place, name), *arguments))


def replace_modules(module: nn.Module, replacement: Callable[[nn.Module], nn.Module]) -> None:
    """Put `replacement(m)` in the place of every module m below `module`, from the outside in."""
    for name, child in list(module.named_children()):
        other = replacement(child)
        if other is not child:
            setattr(module, name, other)
        replace_modules(other, replacement)


def original(module: nn.Module) -> nn.Module:
    """What stood in the place of an adapter; any other module is its own original."""
    while isinstance(module, Adapter):
        module = module.base
    return module


M = TypeVar("M", bound=nn.Module)


def twin(model: M) -> M:
    """A copy to train: frozen parameters and buffers are the same tensors, trainable ones exist twice."""
    shared = [p for p in model.parameters() if not p.requires_grad] + list(model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})


def with_tensors(base: M, tensors: dict[str, Tensor]) -> M:
    """A copy of a frozen module that shares its tensors, but for those named here, which it gets as frozen ones."""
    plain = twin(base)
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        setattr(plain.get_submodule(owner), leaf, nn.Parameter(tensor.detach().clone(), requires_grad=False))
    return plain
