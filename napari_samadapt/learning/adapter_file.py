"""Adapters as files: the trained tensors as safetensors, with a card that says what they fit.

The file holds no pixels, no paths and no names but those of the classes.
"""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_samadapt.imaging.errors import SamAdaptError

from . import adapters
from .adapters import AdapterConfig, AdapterState
from .promptable_sam import PromptableSam
from .semantic import SemanticSam

FORMAT = "napari-samadapt adapter 1"


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
        return cls(**values)


def save_adapter(path: Path, state: AdapterState, card: AdapterCard) -> Path:
    """Write the adapter under a temporary name, then give it its own. Returns the path.

    Raises SamAdaptError when the folder cannot be written.
    """
    content = save(
        {name: t.contiguous() for name, t in state.tensors.items()}, metadata={"card": card.to_json()}
    )
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise SamAdaptError(f"{path} was not written ({error.strerror}): choose another folder.") from error
    return path


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
    try:
        with safe_open(path, framework="pt") as file:
            yield file, AdapterCard.from_json((file.metadata() or {})["card"])
    except (SafetensorError, OSError) as error:
        raise SamAdaptError(
            f"{path.name} is damaged or not a safetensors file: choose an adapter file."
        ) from error
    except SamAdaptError as error:
        raise SamAdaptError(f"{path.name} was made by another version of this program. {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
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
    adapters.insert(sam, card.config)
    model = SemanticSam(sam, tuple(card.classes), card.config.decoder)
    try:
        adapters.load(model, tensors)
    except SamAdaptError:
        adapters.remove(sam)
        raise
    return model, card
