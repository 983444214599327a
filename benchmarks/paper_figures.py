"""What the papers print: of which run, with which model, and its figures in percent."""

from dataclasses import dataclass

FROZEN = "frozen"
"""SAM as it is, with boxes: nothing is trained."""


@dataclass(frozen=True)
class Figure:
    """What is printed of one run, in the order of its row's metrics, None where one is not printed.

    `method` is one of ours, or `FROZEN`; `words` are its options, as `--set` takes them, where they are not the row's
    own. `runnable` is False where the paper does not say enough to run the same.
    """

    method: str
    model: str
    values: tuple[float | None, ...]
    words: tuple[str, ...] = ()
    note: str = ""
    runnable: bool = True

    @property
    def label(self) -> str:
        note = self.note if self.runnable else "cannot be run here"
        return run_label(self.method, self.words, self.model) + (f", {note}" if note else "")


def run_label(method: str, words: tuple[str, ...], model: str) -> str:
    """A run in words, as in "cobot-lora, layer=linear, vit_b"."""
    return ", ".join((method, *words, model))


_CONV_LORA: dict[str, tuple[tuple[float, ...] | None, ...]] = {
    "kvasir": ((86.5, 89.5), (91.2, 93.8), (92.0, 94.7)),
    "cvc-612": ((85.5, 89.9), (90.7, 92.5), (91.3, 94.0)),
    "isic": ((69.7, 79.5), (76.6, 84.9), (77.6, 85.7)),
    "camo": ((78.5, 83.1, 69.8), (88.0, 91.9, 82.8), (88.3, 92.4, 84.0)),
    "sbu": ((14.58,), (2.74,), (2.54,)),
    "leaf": ((50.8, 63.8), (73.7, 83.6), (74.5, 84.3)),
    "road": ((48.6, 65.1), (62.2, 76.5), (62.6, 76.8)),
    "trans10k": (None, (66.01,), (67.09,)),
    "trans10k-easy": (None, (96.26,), (96.45,)),
    "trans10k-hard": (None, (83.95,), (84.37,)),
}
"""By row: decoder-only, LoRA, Conv-LoRA, all with ViT-H."""
_SINGLE_EXPERTS = {
    "leaf": {1: 73.6, 2: 73.8, 4: 74.0, 8: 73.2},
    "isic": {1: 76.8, 2: 77.3, 4: 76.9, 8: 76.9},
}
"""By row and by the expert's scale: its Jaccard index (Table 4), the only score printed."""


def conv_lora_figures(name: str) -> tuple[Figure, ...]:
    """Of a row of Conv-LoRA, with its ablations."""
    methods = ("decoder-only", "lora", "conv-lora")
    whole = zip(methods, _CONV_LORA[name], strict=True)
    figures = [Figure(method, "vit_h", values) for method, values in whole if values]
    for scale, jaccard in _SINGLE_EXPERTS.get(name, {}).items():
        figures.append(Figure("conv-lora", "vit_h", (jaccard, None), (f"scales={scale}",)))
    if name == "isic":
        figures.append(Figure("conv-lora", "vit_h", (77.4, None), ("gated=false",)))
        figures.append(Figure("conv-lora", "vit_h", (77.9, None), note="beside gated=false"))
    return tuple(figures)


COBOT_SETS = {
    "coco": "COCO",
    "trcan": "TRCAN",
    "nwpu": "NWPU",
    "ssdd": "SSDD",
    "sonar": "SONAR",
    "adome": "ADOME",
    "splen": "SPLEN",
    "momo": "MOMO",
    "brast": "BRAST",
    "segrap": "SEGRAP",
}
"""Columns of Table 4 in its order."""
_TABLE_4 = {
    FROZEN: (53.0, 53.9, 59.6, 63.2, 34.5, 23.5, 24.3, 24.3, 60.1, 10.5),
    "decoder-only": (70.4, 70.3, 80.5, 80.2, 79.8, 86.0, 93.4, 86.3, 85.1, 67.8),
    "lora-qv": (71.8, 72.8, 81.8, 80.7, 82.8, 88.0, 94.4, 86.6, 84.8, 68.7),
    "cobot-lora": (72.1, 73.1, 82.5, 81.2, 84.6, 88.7, 94.9, 86.7, 85.3, 70.1),
    "adaptformer": (71.7, 73.3, 83.0, 81.9, 84.1, 90.1, 94.8, 87.6, 85.8, 72.1),
    "cobot-adaptformer": (72.2, 74.1, 84.9, 82.4, 84.9, 91.3, 96.4, 89.2, 87.3, 73.1),
}
_HOST = "cobot-adaptformer"
_ABLATIONS: tuple[tuple[str, tuple[str, ...], tuple[float, float, float], bool], ...] = (
    (_HOST, ("layer=none", "relation=none"), (90.1, 83.1, 73.4), True),
    (_HOST, ("hyper-complex layer alone",), (90.3, 83.3, 73.5), False),
    (_HOST, ("relation=none",), (90.4, 83.3, 73.5), True),
    (_HOST, ("layer=none",), (90.9, 83.7, 73.9), True),
    (_HOST, ("relation=random",), (90.2, 83.4, 73.3), True),
    (_HOST, ("layer=linear",), (90.9, 83.8, 73.9), True),
    ("lst", (), (86.5, 80.9, 70.7), False),
    ("vpt", (), (87.7, 81.8, 71.5), False),
    ("attention-tuning", (), (90.8, 84.9, 74.0), True),
    ("cobot-attention", (), (91.0, 85.2, 74.3), False),
    ("ssf", (), (88.5, 81.9, 73.0), False),
    ("cobot-ssf", (), (90.6, 82.8, 73.5), False),
    ("bitfit", (), (86.3, 80.6, 72.1), True),
    ("cobot-bitfit", (), (89.7, 82.0, 73.1), False),
)
"""Of ADOME, NWPU and TRCAN: Tables 1, 2 and 3, then S-1; whether it can be run here."""
_VIT_L = {
    "lora-qv": (81.8, 89.1),
    "cobot-lora": (82.4, 89.9),
    "adaptformer": (82.1, 91.6),
    "cobot-adaptformer": (82.8, 93.0),
}
"""Of SSDD and ADOME: Table 5, the half that Table 4 has not."""


def cobot_figures(name: str) -> tuple[Figure, ...]:
    """Of a row of SAM-COBOT, with its ablations."""
    place = list(COBOT_SETS).index(name)
    figures = [Figure(method, "vit_b", (values[place],)) for method, values in _TABLE_4.items()]
    if name == "nwpu":
        figures.append(Figure(_HOST, "vit_b", (84.0,), note="in Tables 1 to 3"))
    for sets, rows in (
        (("adome", "nwpu", "trcan"), [("vit_b", *row) for row in _ABLATIONS]),
        (("ssdd", "adome"), [("vit_l", method, (), values, True) for method, values in _VIT_L.items()]),
    ):
        if name in sets:
            place = sets.index(name)
            figures += [
                Figure(method, model, (values[place],), words, runnable=runnable)
                for model, method, words, values, runnable in rows
            ]
    return tuple(figures)
