"""Adapters as files: the trained tensors as safetensors, with a card that says what they fit.

The file holds no pixels, no paths and no names but those of the classes.
"""

import copy
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.saving import put_in_place

from . import adapters
from .adapters import AdapterConfig, AdapterState
from .promptable_sam import PromptableSam
from .semantic import SemanticSam
from .weight_files import check_header

FORMAT = "napari-samadapt adapter 1"
_LONGEST_TEXT = 1000
_LARGEST_INPUT = 4096
_LARGEST_ID = 65535


@dataclass(frozen=True)
class AdapterCard:
    """What an adapter was trained on and for.

    `base_sha256` is the base model's checkpoint; `classes` maps ids to names, in
    the order of the automatic decoder's outputs; `window` (low, high) is in the volume's
    units; `axis` is axial, coronal or sagittal; `held_out_dice` is None where it was not measured.
    """

    base_sha256: str
    model_type: str
    input_size: int
    config: AdapterConfig
    classes: Mapping[int, str]
    window: tuple[float, float]
    axis: str
    held_out_dice: float | None = None

    def to_json(self) -> str:
        own = {"format": FORMAT, "config": self.config.as_dict(), "classes": list(self.classes.items())}
        return json.dumps(asdict(self) | own)

    @classmethod
    def from_json(cls, text: str) -> "AdapterCard":
        """The card of a file. Raises ValueError, KeyError or TypeError when it is not one."""
        values: dict[str, Any] = json.loads(text)
        if values.pop("format") != FORMAT:
            raise ValueError("another format")
        values["config"] = AdapterConfig.from_dict(values["config"])
        values["classes"] = {int(class_id): str(name) for class_id, name in values["classes"]}
        low, high = values["window"]
        values["window"] = (float(low), float(high))
        card = cls(**values)
        card._check()
        return card

    def _check(self) -> None:
        """Raise ValueError for values that no card of ours has, whoever made the file."""
        texts = (self.base_sha256, self.model_type, self.axis)
        sound = (
            all(isinstance(text, str) and len(text) <= _LONGEST_TEXT for text in texts)
            and type(self.input_size) is int
            and 0 < self.input_size <= _LARGEST_INPUT
            and 0 < len(self.classes) <= _LARGEST_ID
            and all(0 < class_id <= _LARGEST_ID for class_id in self.classes)
            and all(math.isfinite(end) for end in self.window)
            and (self.held_out_dice is None or 0 <= float(self.held_out_dice) <= 1)
        )
        if not sound:
            raise ValueError("no card of an adapter")


def save_adapter(path: Path, state: AdapterState, card: AdapterCard) -> Path:
    """Write the adapter under a temporary name, then give it its own. Returns the path.

    Raises SamAdaptError when the folder cannot be written, and for values that are no numbers.
    """
    _check_finite(state.tensors, path)
    content = save(
        {name: t.contiguous() for name, t in state.tensors.items()}, metadata={"card": card.to_json()}
    )
    try:
        put_in_place(path, content)
    except OSError as error:
        raise SamAdaptError(f"{path} was not written ({error.strerror}): choose another folder.") from error
    return path


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise SamAdaptError(
            f"The adapter {path.name} holds values that are no numbers ({len(broken)} tensors, first: "
            f"{broken[0][:80]}): it cannot be used. Train it again."
        )


def read_adapter(path: Path) -> tuple[dict[str, Tensor], AdapterCard]:
    """The tensors and the card of an adapter file; nothing in it is run.

    Raises SamAdaptError when the file is missing, damaged or not an adapter.
    """
    with _opened(path) as (file, card):
        return {name: file.get_tensor(name) for name in file.keys()}, card  # noqa: SIM118  # not a dict


def read_card(path: Path) -> AdapterCard:
    """The card of an adapter file, without its tensors. Raises SamAdaptError as `read_adapter` does."""
    with _opened(path) as (_, card):
        return card


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, AdapterCard]]:
    """The open file and its card; what goes wrong in it becomes a SamAdaptError."""
    if not path.is_file():
        raise SamAdaptError(f"There is no adapter at {path}: check the path.")
    check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file, AdapterCard.from_json((file.metadata() or {})["card"])
    except (SafetensorError, OSError) as error:
        raise SamAdaptError(
            f"{path.name} is damaged or not a safetensors file: choose an adapter file."
        ) from error
    except SamAdaptError as error:
        raise SamAdaptError(f"{path.name} was made by another version of this program. {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SamAdaptError(
            f"{path.name} carries no card of an adapter: choose a file saved by this program."
        ) from error


def check_base(path: Path, card: AdapterCard, sam: PromptableSam) -> None:
    """SamAdaptError when the adapter of this file was made for another base model than `sam`."""
    if card.base_sha256 != sam.base_sha256:
        raise SamAdaptError(
            f"{path.name} was made for {card.model_type} with checkpoint {card.base_sha256[:12]}…, not for this "
            f"{sam.model_type} ({sam.base_sha256[:12]}…): load the model it was made for."
        )


def load_adapter(path: Path, sam: PromptableSam) -> tuple[SemanticSam, AdapterCard]:
    """Put the adapter of a file on its base model `sam`, which must carry none yet.

    Raises SamAdaptError as `read_adapter` does, and when the adapter was made for another base model.
    """
    tensors, card = read_adapter(path)
    check_base(path, card, sam)
    _check_fits(path, tensors, card, sam)
    adapters.insert(sam, card.config)
    model = SemanticSam(sam, tuple(card.classes), card.config.decoder)
    adapters.load(model, tensors)
    return model, card


def _check_fits(path: Path, tensors: Mapping[str, Tensor], card: AdapterCard, sam: PromptableSam) -> None:
    """Compare names, types and shapes with what the card asks for, before any of it takes memory."""
    _check_finite(tensors, path)
    expected = _expected_shapes(sam, card)
    wrong = sorted(set(expected) ^ set(tensors)) or [
        name
        for name, shape in expected.items()
        if tensors[name].shape != shape or not tensors[name].is_floating_point()
    ]
    if wrong and card.input_size != sam.input_size:
        raise SamAdaptError(
            f"{path.name} was trained for inputs of {card.input_size} pixels, and this {sam.model_type} takes "
            f"{sam.input_size}, for which {wrong[0][:80]} has another shape: load the model in Python with "
            f"input_size={card.input_size}, or train again."
        )
    if wrong:
        raise SamAdaptError(
            f"{path.name} does not fit its own card: {len(wrong)} tensors differ in name, type or shape "
            f"(first: {wrong[0][:80]}). Choose another adapter."
        )


def _expected_shapes(sam: PromptableSam, card: AdapterCard) -> dict[str, torch.Size]:
    """The trained tensors that the card asks for, told by a copy of the model without memory (the meta device)."""
    hollow: dict[int, Tensor] = {}
    for tensor in (*sam.parameters(), *sam.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        is_weight = isinstance(tensor, nn.Parameter)
        hollow[id(tensor)] = nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_weight else empty
    copied = copy.deepcopy(sam, hollow)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore", UserWarning)  # that nothing is copied into a tensor without memory
        adapters.insert(copied, card.config)
        model = SemanticSam(copied, tuple(card.classes), card.config.decoder)
    return {name: parameter.shape for name, parameter in adapters.trainable(model).items()}
