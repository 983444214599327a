"""SAM-COBOT (arXiv 2311.17112): one slot of coefficients and a hyper-complex matrix in each bottleneck of a host.

A slot t (a block, or q or v of one) multiplies its bottleneck u, of width V, by M_t = W_t diag(lambda_t) with
lambda_t = gamma_t + (C P)[:, t] (equations 12 to 17). C (V, T) holds the raw coefficient sets of all slots and P (T, T)
is the relation matrix; both are shared by all blocks. The paper's S is the transpose of P. M_t is linear and stands
before the host's non-linearity, so it is applied to the down-projection's weight: it costs next to nothing in training
and, once folded, nothing at all afterwards.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from napari_samadapt.imaging.errors import SamAdaptError

Preset = Literal["identity", "official", "unit"]
Layer = Literal["hypercomplex", "linear", "none"]
Communication = Literal["learned", "identity", "random", "none"]

SLOW_GAMMA = 0.01
"""The official code's learning rate of gamma, which it trains with its host, over that of C, P and W."""


@dataclass(frozen=True)
class CobotOptions:
    """How COBOT starts and which parts of it there are.

    `preset`: "identity" starts at M_t = I, the plain host (gamma = C = 1/2); "official" as the official code
    (gamma = C = 1, W purely imaginary); "unit" as identity, with W a random rotation.
    `layer`: W hyper-complex, a dense matrix (Table 3), or none. `relation`: P learned, frozen at the identity, frozen
    random (Table 2), or none: gamma is then the only set of coefficients (Table 1).
    """

    preset: Preset = "identity"
    layer: Layer = "hypercomplex"
    relation: Communication = "learned"


class Relation(nn.Module):
    """C (V, T), the raw coefficient sets, and P (T, T), the relation matrix: one object for all slots."""

    def __init__(self, channels: int, slots: int, options: CobotOptions) -> None:
        super().__init__()
        start = 1.0 if options.preset == "official" else 0.5
        self.coefficients = nn.Parameter(torch.full((channels, slots), start))
        if options.relation == "random":
            fixed = torch.Generator().manual_seed(
                slots
            )  # the same in every copy: frozen tensors are not saved
            matrix = torch.randn(slots, slots, generator=fixed, device="cpu") / math.sqrt(slots)
            matrix = matrix.to(self.coefficients.device)
        else:
            matrix = torch.eye(slots)
        self.matrix = nn.Parameter(matrix, requires_grad=options.relation == "learned")

    @property
    def log_condition(self) -> float:
        """The natural logarithm of P's condition number: nothing keeps P invertible, infinity where it is not."""
        return math.log(torch.linalg.cond(self.matrix.detach().double()).item())

    def column(self, slot: int, rows: slice) -> Tensor:
        """(C P)[rows, slot]: (channels,)."""
        return self.coefficients[rows] @ self.matrix[:, slot]


class Slot(nn.Module):
    """lambda_t of some channels: gamma_t of its own, plus its column of C P."""

    def __init__(self, relation: Relation | None, slot: int, rows: slice, options: CobotOptions) -> None:
        super().__init__()
        self.relation = relation
        self.slot = slot
        self.rows = rows
        self.gamma_rate = SLOW_GAMMA if options.preset == "official" else 1.0
        alone = relation is None or options.preset == "official"
        self.gamma = nn.Parameter(torch.full((rows.stop - rows.start,), 1.0 if alone else 0.5))

    def factor(self) -> Tensor:
        """lambda_t: (channels,)."""
        if self.relation is None:
            return self.gamma
        return self.gamma + self.relation.column(self.slot, self.rows)


class Mixer(Slot):
    """M_t = W_t diag(lambda_t) of a bottleneck of width V."""

    def __init__(self, relation: Relation | None, slot: int, width: int, options: CobotOptions) -> None:
        super().__init__(relation, slot, slice(0, width), options)
        self.layer: HyperComplex | Dense | None = None
        if options.layer == "hypercomplex":
            self.layer = HyperComplex(width, options.preset)
        elif options.layer == "linear":
            self.layer = Dense(width, options.preset)

    def matrix(self) -> Tensor:
        """M_t: (V, V)."""
        factor = self.factor()
        return torch.diag(factor) if self.layer is None else self.layer.matrix() * factor


class HyperComplex(nn.Module):
    """The matrix W (V, V) that multiplies by quaternions from the left (equation 2); V^2 / 4 parameters.

    Channels are grouped in four quarters: real, i, j, k. W is a 4 x 4 grid of the blocks R, I, J, K (V/4, V/4).
    """

    def __init__(self, width: int, preset: Preset = "identity") -> None:
        super().__init__()
        check_bottleneck(width)
        side = width // 4
        blocks = torch.zeros(4, side, side)
        if preset == "identity":
            blocks[0] = torch.eye(side)
        elif preset == "official":
            blocks[1:].uniform_(0, 1)
        else:
            blocks = torch.diag_embed(nn.functional.normalize(torch.randn(4, side), dim=0))
        self.blocks = nn.Parameter(blocks)

    def matrix(self) -> Tensor:
        """W: (V, V)."""
        r, i, j, k = self.blocks
        grid = ((r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r))
        return torch.cat([torch.cat(row, 1) for row in grid])


def check_bottleneck(width: int) -> None:
    """SamAdaptError where the hyper-complex layer does not fit a bottleneck of this width."""
    if width % 4:
        raise SamAdaptError(
            f"COBOT's hyper-complex layer needs a bottleneck whose width is a multiple of 4, not {width}."
        )


class Dense(nn.Module):
    """A free matrix (V, V) in place of the hyper-complex one (Table 3)."""

    def __init__(self, width: int, preset: Preset) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(width))
        if preset == "official":
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def matrix(self) -> Tensor:
        """W: (V, V)."""
        return self.weight


def relation_of(channels: int, slots: int, options: CobotOptions) -> Relation | None:
    """The shared tensors of a model; None where the options leave them out."""
    return None if options.relation == "none" else Relation(channels, slots, options)


def mixers(width: int, slots: int, options: CobotOptions) -> list[Mixer]:
    """The mixers of all slots of a model; they share one relation."""
    relation = relation_of(width, slots, options)
    return [Mixer(relation, slot, width, options) for slot in range(slots)]


def channel_slots(layers: Mapping[str, int], blocks: int, options: CobotOptions) -> Sequence[dict[str, Slot]]:
    """For each block a slot over the output channels of `layers` (name to width), one piece of it for each layer.

    Our extension to hosts without a bottleneck: the factor multiplies the change that the host learns.
    """
    relation = relation_of(sum(layers.values()), blocks, options)
    pieces, start = {}, 0
    for name, width in layers.items():
        pieces[name] = slice(start, start + width)
        start += width
    return [
        {name: Slot(relation, block, rows, options) for name, rows in pieces.items()}
        for block in range(blocks)
    ]
