"""Label maps of phantoms: every solid and tube piece is drawn in a small window of each slice that it meets."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .random_fields import Draw, Slices, power, smooth
from .tables import FIELDS, TUBE_FIELDS, Phantom


@dataclass(frozen=True)
class Grid:
    """Where each pixel lies in its phantom: `y`, `x` and the `rough` noise (I, S, S); the view is (V,)."""

    y: Tensor
    x: Tensor
    rough: Tensor
    cos: Tensor
    sin: Tensor
    scale: Tensor
    slices: Slices

    def pixels(self, image: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """About the pixel (N,), (N,) where the phantom's point (y, x) (N,) lies in `image` (N,)."""
        owner, size = self.slices.owner[image], self.slices.size
        cos, sin, scale = self.cos[owner], self.sin[owner], self.scale[owner]
        row, column = self._straight(y, x, cos, sin, scale)
        near = image * size * size + row.clamp(0, size - 1).long() * size + column.clamp(0, size - 1).long()
        off_y, off_x = y - self.y.flatten()[near], x - self.x.flatten()[near]
        back_y, back_x = self._straight(off_y, off_x, cos, sin, scale)
        middle = size / 2
        inner_row, inner_column = row.clamp(0, size - 1), column.clamp(0, size - 1)
        return inner_row + back_y - middle, inner_column + back_x - middle

    def _straight(
        self, y: Tensor, x: Tensor, cos: Tensor, sin: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        up, along = (y * cos - x * sin) / scale, (x * cos + y * sin) / scale
        return (up + 1) * self.slices.size / 2, (along + 1) * self.slices.size / 2


def make_grid(draw: Draw, slices: Slices, turn: Tensor, scale: Tensor) -> Grid:
    """Coordinates turned by `turn` (V,), scaled by `scale` (V,) and warped smoothly."""
    size, count = slices.size, slices.volumes
    axis = (torch.arange(size, device=draw.device) + 0.5) / size * 2 - 1
    strength = draw.uniform(2, count, 1, 1, 1) * torch.tensor([0.07, 0.02], device=draw.device).view(
        2, 1, 1, 1, 1
    )
    strength = strength[:, slices.owner]
    warp = smooth(draw, slices, 2, 2.5) * strength[0] + smooth(draw, slices, 2, 9) * strength[1]
    rough = smooth(draw, slices, 1, 13)[:, 0]
    cos, sin = turn.cos(), turn.sin()
    c, s = (t[slices.owner].view(-1, 1, 1) for t in (cos * scale, sin * scale))
    down, right = axis[:, None], axis[None, :]
    y = down * c + right * s + warp[:, 0]
    x = right * c - down * s + warp[:, 1]
    return Grid(y, x, rough.contiguous(), cos, sin, scale, slices)


class Canvas:
    """The label map being drawn: keys 2 * label + 1, and 2 * label for the fat around it; the highest stays."""

    def __init__(self, grid: Grid, phantom: Phantom, projected: Tensor) -> None:
        self.grid, self.phantom, self.projected = grid, phantom, projected
        self.base = self._base()
        # A CPU is fastest with what fits its cache.
        self.chunk = 2**17 if self.base.device.type == "cpu" else 2**24
        self.keys = torch.zeros(self.base.numel(), dtype=torch.int32, device=self.base.device)
        self.open = (self.base > 0).flatten()
        self.depth = torch.zeros(
            self.base.numel() if projected.any() else 0, dtype=torch.int64, device=self.base.device
        )

    def _base(self) -> Tensor:
        """Outline, wall and cavity of the bodies: labels (I, S, S) from 0 to 3."""
        body, slices = self.phantom.body, self.grid.slices
        swell = 1 + body.taper[slices.owner] * slices.z
        ry, rx, cy, cx, exponent = (
            t[slices.owner].view(-1, 1, 1) for t in (body.ry, body.rx, body.cy, body.cx, body.power)
        )
        ry, rx = ry * swell.view(-1, 1, 1), rx * swell.view(-1, 1, 1)
        out = power(((self.grid.y - cy) / ry).abs(), exponent) + power(
            ((self.grid.x - cx) / rx).abs(), exponent
        )
        levels = (body.layers ** body.power[:, None])[slices.owner].view(-1, 2, 1, 1)
        wall, cavity = out < levels[:, 0], out < levels[:, 1]
        # The cavity without a wall keeps its label 3.
        return torch.maximum(torch.maximum((out < 1).int(), 2 * wall.int()), 3 * cavity.int())

    def labels(self) -> Tensor:
        """The label map (I, S, S) int64."""
        keys = self.keys.view_as(self.base)
        solid = keys & 1
        ground = torch.minimum(self.base, 1 + 2 * (keys == 0).int())
        return (solid * (keys >> 1) + (1 - solid) * ground).long()

    def solids(self) -> None:
        """Draw every solid of the phantoms in the slices that it meets."""
        slices, table = self.grid.slices, self.phantom.solids
        index = {name: i for i, name in enumerate(FIELDS)}
        here = table[slices.owner]
        lift = (slices.z[:, None] - here[..., index["cz"]]) / here[..., index["rz"]]
        offset = lift.abs() ** here[..., index["power"]]
        image, which = ((offset < 0.95) & (here[..., index["present"]] > 0)).nonzero(as_tuple=True)
        s = dict(zip(FIELDS, here[image, which].unbind(1), strict=True))
        rise = slices.z[image] - s["cz"]
        s["cy"], s["cx"] = s["cy"] + s["shear_y"] * rise, s["cx"] + s["shear_x"] * rise
        s["offset"] = offset[image, which]
        s["rim"] = self.phantom.rim[slices.owner[image]]
        s["reach"] = torch.maximum(s["rx"], s["ry"] * (1 + 0.6 * s["bend"].abs())) * 1.3 + 0.06
        s["image"] = image
        for chosen, place in self._windows(s):
            c = {name: value[chosen].view(-1, 1, 1) for name, value in s.items()}
            dy, dx = self._at(self.grid.y, place) - c["cy"], self._at(self.grid.x, place) - c["cx"]
            cos, sin = c["angle"].cos(), c["angle"].sin()
            u = dx * (cos / c["rx"]) + dy * (sin / c["rx"])
            v = dy * (cos / c["ry"]) - dx * (sin / c["ry"]) - c["bend"] * (u**2 - 0.3)
            field = power(u.abs(), c["power"]) + power(v.abs(), c["power"]) + c["offset"]
            field = field * (1 + c["rough"] * self._at(self.grid.rough, place))
            rim = (1 + c["rim"] / torch.minimum(c["ry"], c["rx"])) ** c["power"]
            self._put(field, rim, c["wall"] ** c["power"], c, place)

    def tubes(self) -> None:
        """Draw every tube piece of the phantoms in the slices that it meets."""
        slices, table = self.grid.slices, self.phantom.tubes
        here = table[slices.owner]
        t = dict(zip(TUBE_FIELDS, here.unbind(2), strict=True))
        low = torch.minimum(t["az"], t["az"] + t["dz"]) - t["start"]
        high = torch.maximum(t["az"], t["az"] + t["dz"]) + t["start"]
        z = slices.z[:, None]
        image, which = ((z > low) & (z < high) & (t["present"] > 0)).nonzero(as_tuple=True)
        t = dict(zip(TUBE_FIELDS, here[image, which].unbind(1), strict=True))
        t["image"], t["qz"] = image, slices.z[image] - t["az"]
        t["cy"], t["cx"] = t["ay"] + t["dy"] / 2, t["ax"] + t["dx"] / 2
        t["rim"] = self.phantom.rim[slices.owner[image]]
        t["reach"] = torch.hypot(t["dy"], t["dx"]) / 2 + t["start"] * 1.3 + 0.02
        for chosen, place in self._windows(t):
            c = {name: value[chosen].view(-1, 1, 1) for name, value in t.items()}
            square = c["dy"] ** 2 + c["dx"] ** 2 + c["dz"] ** 2 + 1e-9
            y, x = self._at(self.grid.y, place) - c["ay"], self._at(self.grid.x, place) - c["ax"]
            along = y * (c["dy"] / square) + x * (c["dx"] / square) + c["qz"] * c["dz"] / square
            along = along.clamp(0, 1)
            apart = (y - along * c["dy"]) ** 2 + (x - along * c["dx"]) ** 2 + (c["qz"] - along * c["dz"]) ** 2
            field = apart / (c["start"] + along * (c["end"] - c["start"])) ** 2
            self._put(field, (1 + c["rim"] / c["start"]) ** 2, c["wall"] ** 2, c, place)

    def _windows(self, s: dict[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Shapes (n,) that fit windows of one side P, and the flat places (n, P, P) of these windows."""
        size, device = self.grid.slices.size, self.base.device
        scale = self.grid.scale[self.grid.slices.owner[s["image"]]]
        need = s["reach"] / scale * size
        row, column = self.grid.pixels(s["image"], s["cy"], s["cx"])
        seen = (row > -need / 2) & (row < size + need / 2) & (column > -need / 2) & (column < size + need / 2)
        sides = sorted({min(size, max(12, math.ceil(size * part))) for part in (0.1, 0.18, 0.33, 0.6, 1.0)})
        smaller = -1.0
        for side in sides:
            fits = (need > smaller) & (need <= side if side < size else need > smaller)
            smaller = side
            steps = torch.arange(side, device=device)
            window = steps[:, None] * size + steps
            for chosen in torch.split((fits & seen).nonzero()[:, 0], max(1, self.chunk // side**2)):
                if len(chosen):
                    corner = [
                        (m[chosen] - side / 2).round().clamp(0, size - side).long() for m in (row, column)
                    ]
                    start = s["image"][chosen] * size * size + corner[0] * size + corner[1]
                    yield chosen, start.view(-1, 1, 1) + window

    @staticmethod
    def _at(plane: Tensor, place: Tensor) -> Tensor:
        return plane.flatten().index_select(0, place.flatten()).view_as(place)

    def _put(self, field: Tensor, rim: Tensor, wall: Tensor, c: dict[str, Tensor], place: Tensor) -> None:
        """Write the labels where `field` is below 1, its inside below `wall`, and the fat up to `rim`."""
        inside = field < 1
        drawn = (field < rim) & (self._at(self.open, place) | (c["free"] > 0))
        key = (2 * c["label"]).int() + inside.int() + 2 * (field < wall).int()
        self.keys.scatter_reduce_(0, place.flatten(), (key * drawn).flatten(), "amax")
        if len(self.depth):
            layer = drawn & inside & self.projected[self.grid.slices.owner][c["image"]]
            weight = (0.2 + c["reach"]) * (0.25 + (c["label"] * 12.9898).sin().abs())
            thick = ((1 - field).clamp_min(0).sqrt() * weight * layer * 65536).long()
            self.depth.scatter_add_(0, place.flatten(), thick.flatten())


def region_labels(draw: Draw, slices: Slices) -> Tensor:
    """Label maps (I, S, S) without a body: where each of eight smooth noises of two random scales is highest."""
    number = 8
    score = torch.full((len(slices), slices.size, slices.size), -torch.inf, device=draw.device)
    labels = torch.zeros_like(score, dtype=torch.int64)
    allowed = draw.integers(3, number + 1, slices.volumes)
    for half in range(2):
        fields = smooth(draw, slices, number // 2, draw.log_uniform(slices.volumes, low=2, high=14), 14)
        level = draw.normal(slices.volumes, number) * 0.6
        for index in range(half, number, 2):
            there = level[:, index] - 9.0 * (index >= allowed)
            field = fields[:, index // 2] + there[slices.owner].view(-1, 1, 1)
            labels = labels.where(field <= score, index)
            score = torch.maximum(score, field)
    return labels
