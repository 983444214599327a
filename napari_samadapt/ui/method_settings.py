"""The dialog for the numbers of a method (rank, scale, experts) and the automatic decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magicgui.widgets import request_values
from qtpy.QtWidgets import QWidget

from napari_samadapt.learning.method_texts import DECODER_TEXTS

if TYPE_CHECKING:
    from napari_samadapt.learning.adapters import AdapterConfig

Request = Callable[..., dict[str, Any] | None]

TITLE = "Adapter and automatic decoder. A change starts over from the plain model."


def ask_method_settings(
    config: AdapterConfig, parent: QWidget | None = None, request: Request = request_values
) -> AdapterConfig | None:
    """The config with what the user chooses in a modal dialog; None when it is cancelled or unchanged."""
    values = request(settings_of(config), title=TITLE, parent=parent)
    chosen = replace(config, **values) if values else config
    return None if chosen == config else chosen


def settings_of(config: AdapterConfig) -> Mapping[str, dict[str, Any]]:
    """What magicgui is to ask for: the numbers that the method has, and the automatic decoder."""
    questions: dict[str, dict[str, Any]] = {}
    if config.rank is not None:
        questions["rank"] = _number(int, "Rank", config.rank, "Width of the low-rank change", 1, 64)
    if config.alpha is not None:
        questions["alpha"] = _number(
            float, "Scale α", config.alpha, "The change is multiplied by α / rank", 0.1, 512
        )
    if config.experts is not None:
        questions["experts"] = _number(
            int, "Experts", config.experts, "Convolutions at scales 1, 2, 3, …", 1, 8
        )
    questions["decoder"] = {
        "annotation": str,
        "label": "Decoder",
        "value": config.decoder,
        "options": {
            "choices": [(text.title, name) for name, text in DECODER_TEXTS.items()],
            "tooltip": "\n".join(f"{text.title}: {text.sentence}" for text in DECODER_TEXTS.values()),
        },
    }
    return questions


def _number(kind: type, label: str, value: float, tooltip: str, low: float, high: float) -> dict[str, Any]:
    return {
        "annotation": kind,
        "label": label,
        "value": value,
        "options": {"min": low, "max": high, "tooltip": tooltip},
    }
