"""segment-anything's modules, imported also where torchvision's compiled operators do not load.

`segment_anything` imports torchvision for its automatic mask generator. Beside a torch that torchvision was not
compiled for, that import fails with "operator torchvision::nms does not exist", although SAM itself needs none of
these operators. Only that error is caught: the missing operators are declared (never implemented) and the import
is tried again.
"""

import importlib
import sys
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")

DECLARED: list[torch.library.Library] = []
"""Keeps the declarations alive; not empty when torchvision's own operators could not be loaded."""


def _import_segment_anything() -> ModuleType:
    try:
        return importlib.import_module("segment_anything.modeling")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "segment_anything")]:
        del sys.modules[name]
    declarations = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in _OPERATORS:
        if not hasattr(torch.ops.torchvision, operator):
            declarations.define(f"{operator}{_SCHEMA}")  # type: ignore[no-untyped-call]
    DECLARED.append(declarations)
    return importlib.import_module("segment_anything.modeling")


_import_segment_anything()

from segment_anything.modeling import (  # noqa: E402
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from segment_anything.modeling.image_encoder import (  # noqa: E402
    Attention,
    Block,
    get_rel_pos,
    window_partition,
    window_unpartition,
)

__all__ = [
    "Attention",
    "Block",
    "ImageEncoderViT",
    "MaskDecoder",
    "PromptEncoder",
    "Sam",
    "TwoWayTransformer",
    "get_rel_pos",
    "window_partition",
    "window_unpartition",
]
