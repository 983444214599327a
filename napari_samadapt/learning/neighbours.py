"""What the slices around a slice say of it: the classes' log-probabilities, weighted by distance.

The automatic decoder sees one slice at a time, and structures go on from slice to slice. So what it says of a slice is
joined with what it says of its neighbours, as a geometric mean with the weights of a Gaussian in mm; slices that the
user gave speak with certainty. On a CT (30 slices, 5 given), an MR (20) and a brain MR with thick slices (25), the
standard deviation that gave the best Dice was 4 to 5 mm, whether slices were 3, 6, 6.5 or 9 mm apart.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.imaging.volume import Volume

SIGMA_MM = 4.0
MOST_SLICES = 3.0
"""No larger standard deviation, in slices: a mouse is no man, and more slices would cost more."""
LEAST_WEIGHT = 0.05
LARGEST_BYTES = 512 * 2**20
"""Of the maps that are kept; with many classes on large slices fewer neighbours count."""
_FLOOR = 1e-3  # nobody is surer than this
_BYTES = 2  # of a probability that is kept
_PER_REACH, _AT_FRONTS = 4, 2  # maps that are kept: two fronts that move apart


def slice_weights(volume: Volume, axis: int, classes: int) -> tuple[float, ...]:
    """What slices 0, 1, 2 ... away along a numpy axis count, where so many classes are told apart.

    (1.0,) where slices have no distance in mm.
    """
    if not volume.spatial:
        return (1.0,)
    sigma = min(SIGMA_MM / volume.spacing[axis], MOST_SLICES)
    pixels = math.prod(volume.shape) // volume.shape[axis]
    room = LARGEST_BYTES // (_BYTES * (classes + 1) * pixels)
    reach = min(
        int(sigma * math.sqrt(-2 * math.log(LEAST_WEIGHT))), max(0, (room - _AT_FRONTS) // _PER_REACH)
    )
    return tuple(math.exp(-0.5 * (away / sigma) ** 2) for away in range(reach + 1))


class Neighbours:
    """The latest class probabilities of slices along one axis, as many as are needed for going outwards from one.

    `given` are the slices (H, W) uint16 whose ids are known.
    """

    def __init__(self, weights: Sequence[float], class_ids: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._planes = np.full(np.iinfo(np.uint16).max + 1, -1)  # of every id: where it is in the maps
        self._planes[[0, *class_ids]] = range(len(class_ids) + 1)
        self._maps: OrderedDict[int, Tensor] = OrderedDict()
        self._gone: set[int] = set()
        self.given: Mapping[int, NDArray[np.uint16]] = {}

    @property
    def reach(self) -> int:
        """How many slices away a neighbour still counts."""
        return len(self._weights) - 1

    def __contains__(self, index: int) -> bool:
        return index in self._maps

    def put(self, index: int, probabilities: Tensor) -> None:
        """Take what the decoder says of a slice (K + 1, H, W); the one put longest ago may have to go."""
        self._maps[index] = probabilities.clamp(min=_FLOOR).log().half()
        self._maps.move_to_end(index)
        self._gone.discard(index)
        while len(self._maps) > _PER_REACH * self.reach + _AT_FRONTS:
            self._gone.add(self._maps.popitem(last=False)[0])

    def knows_around(self, index: int) -> bool:
        """False where a slice that counts for this one was put and had to go."""
        around = range(index - self.reach, index + self.reach + 1)
        return not any(other in self._gone and other not in self.given for other in around)

    def mixed(self, index: int) -> Tensor:
        """The probabilities (K + 1, H, W) of a slice that was put, joined with the neighbours that are known."""
        total = self._maps[index].float()
        weights = torch.ones_like(total[:1])
        for away, weight in enumerate(self._weights[1:], 1):
            for other in (index - away, index + away):
                if other in self.given:
                    planes = torch.from_numpy(self._planes[self.given[other]]).to(total.device)[None]
                    known = weight * (planes >= 0)  # an id that is no class of the model says nothing
                    total.scatter_add_(0, planes.clamp(min=0), -math.log(_FLOOR) * known)
                    weights += known
                elif other in self._maps:
                    total.add_(self._maps[other], alpha=weight)
                    weights += weight
        return (total / weights).softmax(0)
