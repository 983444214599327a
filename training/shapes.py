"""What a generated phantom consists of: the parameters of its solids and tubes, drawn once for each volume."""

import math

import torch
from torch import Tensor

from .random_fields import Draw
from .tables import FIELDS, FIRST, GROUPS, LAYOUTS, PRESENT, Body, Phantom
from .tubes import draw_tubes


class _Builder:
    """Draws the groups of one set of volumes."""

    def __init__(self, draw: Draw, layout: Tensor, half: Tensor) -> None:
        self.draw, self.layout, self.half = draw, layout, half
        self.count = len(layout)
        self.present = {
            name: torch.tensor(values, device=draw.device)[layout] for name, values in PRESENT.items()
        }
        self.body = self._body()

    def phantom(self) -> Phantom:
        organs = self._organs()
        tables = [
            self._free(),
            organs,
            self._lobes(organs),
            self._pairs(),
            self._row(),
            self._lesions(organs),
        ]
        reach = torch.cat([0.8 * torch.cat(self._reach(), 1), self.half[:, None]], 1)
        threads = self.layout == LAYOUTS.index("threads")
        tubes = draw_tubes(self.draw, self.present["tube"], threads, reach)
        rim = self.draw.uniform(self.count, low=0.01, high=0.035) * self.draw.chance(0.4, self.count)
        return Phantom(self.body, torch.cat(tables, 1), tubes, rim)

    def _body(self) -> Body:
        draw, count = self.draw, self.count
        whole = 1 + 5.0 * ~draw.chance(self.present["outline"], count)
        skin = draw.uniform(count, low=0.015, high=0.2)
        wall = draw.log_uniform(count, low=0.03, high=0.22)
        layers = torch.stack([1 - skin, 1 - skin - wall], 1)
        layers = layers * draw.chance(self.present["wall"][:, None], count, 2)
        layers = layers * (whole[:, None] == 1)
        ry = draw.uniform(count, low=0.58, high=1.05)
        return Body(
            ry=ry * whole, rx=ry * draw.log_uniform(count, low=0.75, high=1.4) * whole,
            cy=draw.normal(count) * 0.06, cx=draw.normal(count) * 0.06,
            power=draw.uniform(count, low=1.8, high=3.2), taper=draw.normal(count) * 0.3, layers=layers,
        )  # fmt: skip

    def _reach(self) -> tuple[Tensor, Tensor]:
        """How far organs lie from the middle (V, 1), in y and x."""
        return self.body.ry.clamp_max(1.05)[:, None], self.body.rx.clamp_max(1.05)[:, None]

    def _table(self, name: str, number: int, given: dict[str, Tensor]) -> Tensor:
        """A table (V, number, FIELDS) of solids of one group; what is not given is drawn."""
        draw, count = self.draw, self.count
        shape = (count, number)
        reach_y, reach_x = self._reach()
        fields = {
            "label": FIRST[name] + 2.0 * torch.arange(number, device=draw.device).expand(shape),
            "cy": draw.uniform(*shape, low=-0.85, high=0.85) * reach_y,
            "cx": draw.uniform(*shape, low=-0.85, high=0.85) * reach_x,
            "angle": draw.uniform(*shape, high=math.pi),
            "power": draw.uniform(*shape, low=1.6, high=3.6),
            "bend": draw.normal(*shape) * 0.8 * draw.chance(0.3, *shape),
            "rough": draw.uniform(*shape, high=0.3) * draw.chance(0.6, *shape),
            "wall": draw.uniform(*shape, low=0.4, high=0.9) * draw.chance(0.28, *shape),
            "shear_y": draw.normal(*shape) * 0.3,
            "shear_x": draw.normal(*shape) * 0.3,
            "present": draw.chance(self.present[name][:, None], *shape).float(),
            "free": torch.zeros(shape, device=draw.device),
        }
        fields.update(given)
        radius = (fields["ry"] * fields["rx"]).sqrt()
        fields.setdefault("rz", radius * draw.log_uniform(*shape, low=0.5, high=2.0))
        fields.setdefault("cz", draw.uniform(*shape, low=-1.0) * (self.half[:, None] + 0.6 * fields["rz"]))
        return torch.stack([fields[field].float() for field in FIELDS], 2)

    def _sizes(self, number: int, low: float, high: float) -> dict[str, Tensor]:
        """Radii (V, number), the larger ones mostly first so that they do not hide the small ones."""
        shape = (self.count, number)
        radius = self.draw.log_uniform(*shape, low=low, high=high)
        order = (radius * (0.5 * self.draw.normal(*shape)).exp()).argsort(1, descending=True)
        radius = radius.gather(1, order)
        aspect = (self.draw.normal(*shape) * 0.3).exp()
        return {"ry": radius * aspect, "rx": radius / aspect}

    def _free(self) -> Tensor:
        """Things outside the body: arms, a table."""
        shape = (self.count, GROUPS["free"])
        side = torch.where(self.draw.chance(0.5, *shape), 1.0, -1.0)
        given = self._sizes(shape[1], 0.06, 0.3)
        given |= {"cx": side * self.draw.uniform(*shape, low=0.7, high=1.2), "free": torch.ones_like(side)}
        return self._table("free", shape[1], given)

    def _organs(self) -> Tensor:
        """Organs of every size; every second one may be a touching copy of the one before."""
        draw, number = self.draw, GROUPS["organ"]
        table = self._table("organ", number, self._sizes(number, 0.035, 0.6))
        table[:, :, FIELDS.index("power")].clamp_(max=3.6)
        first, second = table[:, 0::2].clone(), table[:, 1::2]
        shape = first.shape[:2]
        turn = draw.uniform(*shape, high=2 * math.pi)
        step = draw.uniform(*shape, low=0.9, high=1.15)
        reach = first[..., FIELDS.index("ry")] + first[..., FIELDS.index("rx")]
        copy = first.clone()
        copy[..., FIELDS.index("cy")] += reach * step * turn.sin()
        copy[..., FIELDS.index("cx")] += reach * step * turn.cos()
        copy[..., 0] += 2 * draw.chance(0.5, *shape).float()
        table[:, 1::2] = torch.where(draw.chance(0.2, *shape, 1), copy, second)
        return table

    def _lobes(self, organs: Tensor) -> Tensor:
        """Two more lobes for some organs, under the same label."""
        draw = self.draw
        lobes = organs.repeat(1, 2, 1)
        shape = lobes.shape[:2]
        angle = draw.uniform(*shape, high=2 * math.pi)
        column = {name: lobes[..., index] for index, name in enumerate(FIELDS)}
        column["cy"] += column["ry"] * 0.8 * angle.sin()
        column["cx"] += column["rx"] * 0.8 * angle.cos()
        size = draw.uniform(*shape, low=0.4, high=0.9)
        for name in ("ry", "rx", "rz"):
            column[name] *= size
        column["present"] *= draw.chance(0.2, *shape).float()
        return lobes

    def _pairs(self) -> Tensor:
        """Mirrored twins on either side of the middle; half of them share a label."""
        draw, number = self.draw, GROUPS["pair"] // 2
        _, reach_x = self._reach()
        given = self._sizes(number, 0.05, 0.42)
        given["cx"] = draw.uniform(self.count, number, low=0.12, high=0.75) * reach_x
        given["cx"] = torch.maximum(given["cx"], given["rx"] * draw.uniform(self.count, number, low=0.8))
        one = self._table("pair", number, given)
        one[..., 0] = FIRST["pair"] + 4.0 * torch.arange(number, device=draw.device)
        two = one.clone()
        column = {name: index for index, name in enumerate(FIELDS)}
        two[..., column["cx"]] *= -1
        two[..., column["shear_x"]] *= -1
        two[..., column["bend"]] *= -1
        two[..., column["angle"]] = math.pi - two[..., column["angle"]]
        for name in ("cy", "cx", "ry", "rx"):
            two[..., column[name]] *= 1 + 0.06 * draw.normal(self.count, number)
        two[..., 0] += 2 * draw.chance(0.5, self.count, number).float()
        return torch.cat([one, two], 1)

    def _row(self) -> Tensor:
        """Copies in a line (vertebrae), on a ring (ribs, a skull's pieces) or in a heap (bowel loops)."""
        draw, number, count = self.draw, GROUPS["row"], self.count
        many = draw.integers(3, number + 1, count, 1)
        index = torch.arange(number, device=draw.device).expand(count, -1)
        size = draw.log_uniform(count, 1, low=0.045, high=0.16) * (1 + 0.12 * draw.normal(count, number))
        aspect = (draw.normal(count, 1) * 0.3).exp()
        line = self._line(index, many, size / aspect)
        ring = self._ring(index, many)
        heap = {
            "cy": draw.normal(count, 1) * 0.3 + draw.normal(count, number) * size * 2,
            "cx": draw.normal(count, 1) * 0.3 + draw.normal(count, number) * size * 2,
            "ry": size * aspect, "rx": size / aspect, "angle": draw.uniform(count, number, high=math.pi),
            "bend": torch.zeros_like(size),
        }  # fmt: skip
        line |= {"ry": size * aspect, "rx": size / aspect, "bend": torch.zeros_like(size)}
        kind = draw.uniform(count, 1)
        given = {
            name: torch.where(kind < 0.4, line[name], torch.where(kind < 0.75, ring[name], heap[name]))
            for name in ring
        }
        given["present"] = draw.chance(self.present["row"][:, None], count, 1) & (index < many)
        one_value = draw.uniform(count, 1, low=1.6, high=4.0)
        given["power"] = one_value.expand_as(size)
        given["wall"] = (draw.uniform(count, 1, low=0.4, high=0.85) * draw.chance(0.3, count, 1)).expand_as(
            size
        )
        given["rough"] = draw.uniform(count, 1, high=0.25).expand_as(size)
        given["cz"] = self.half[:, None] * draw.normal(count, number) * 0.5
        return self._table("row", number, given)

    def _line(self, index: Tensor, many: Tensor, size: Tensor) -> dict[str, Tensor]:
        draw, count = self.draw, self.count
        heading = math.pi / 2 + 0.25 * draw.normal(count, 1) + draw.chance(0.2, count, 1) * math.pi / 2
        step = (
            (index - (many - 1) / 2)
            * size.mean(1, keepdim=True)
            * 2
            * draw.uniform(count, 1, low=0.95, high=1.5)
        )
        aside = 0.4 * draw.normal(count, 1) * step**2
        reach_y, reach_x = self._reach()
        cy = draw.normal(count, 1) * 0.15 * reach_y + step * heading.sin() + aside * heading.cos()
        cx = (
            draw.uniform(count, 1, low=-0.7, high=0.7) * reach_x
            + step * heading.cos()
            - aside * heading.sin()
        )
        return {"cy": cy, "cx": cx, "angle": heading.expand_as(cy)}

    def _ring(self, index: Tensor, many: Tensor) -> dict[str, Tensor]:
        draw, count = self.draw, self.count
        place = 2 * math.pi * index / many + draw.uniform(count, 1, high=2 * math.pi)
        part = draw.uniform(count, 1, low=0.3, high=0.92)
        reach_y, reach_x = self._reach()
        high, wide = part * reach_y, part * reach_x
        radius = (high * wide).sqrt()
        rx = math.pi * radius / many * draw.uniform(count, 1, low=0.35, high=0.95)
        rx = rx.expand_as(place)
        ry = torch.maximum(
            rx * draw.uniform(count, 1, low=0.1, high=0.5), torch.tensor(0.028, device=draw.device)
        )
        return {
            "cy": high * place.sin(), "cx": wide * place.cos(), "ry": ry, "rx": rx,
            "angle": torch.atan2(high * place.cos(), -wide * place.sin()), "bend": rx**2 / (2 * radius * ry),
        }  # fmt: skip

    def _lesions(self, organs: Tensor) -> Tensor:
        """Small things inside organs, or large ones on a plain ground."""
        draw, number, count = self.draw, GROUPS["lesion"], self.count
        chosen = draw.integers(0, organs.shape[1], count, number)
        parent = organs.gather(1, chosen[..., None].expand(-1, -1, len(FIELDS)))
        column = {name: parent[..., index] for index, name in enumerate(FIELDS)}
        given = self._sizes(number, 0.07, 0.6)
        turn, far = draw.uniform(count, number, high=2 * math.pi), draw.uniform(count, number, high=0.7)
        inside = draw.chance(
            torch.where(self.layout == LAYOUTS.index("lesion"), 0.0, 0.8)[:, None], count, number
        )
        inside &= column["present"] > 0
        cy = column["cy"] + far * column["ry"] * turn.sin()
        cx = column["cx"] + far * column["rx"] * turn.cos()
        part = draw.uniform(count, number, low=0.15, high=0.5)
        radius = (part * (column["ry"] * column["rx"]).sqrt()).clamp_min(0.035)
        given["ry"] = torch.where(
            inside, radius * given["ry"] / (given["ry"] * given["rx"]).sqrt(), given["ry"]
        )
        given["rx"] = torch.where(inside, radius * given["rx"] / given["rx"].clamp_min(0.01), given["rx"])
        away = draw.uniform(2, count, number, low=-0.7, high=0.7)
        given["cy"], given["cx"] = torch.where(inside, cy, away[0]), torch.where(inside, cx, away[1])
        given["rough"] = draw.uniform(count, number, high=0.5)
        return self._table("lesion", number, given)


def draw_phantom(draw: Draw, layout: Tensor, half: Tensor) -> Phantom:
    """Phantoms of volumes of the given LAYOUTS index (V,) and half height (V,)."""
    return _Builder(draw, layout, half).phantom()
