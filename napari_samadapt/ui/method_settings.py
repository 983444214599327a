"""The dialog for the options of a method and the automatic decoder, made from the table of `AdapterConfig`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container, Dialog, Label, create_widget
from qtpy.QtWidgets import QWidget

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning.method_texts import DECODER_TEXTS, METHOD_TEXTS, OPTION_TEXTS

if TYPE_CHECKING:
    from napari_samadapt.learning.adapters import AdapterConfig

Request = Callable[..., dict[str, Any] | None]

TITLE = "{method} and automatic decoder. A change starts over from the plain model."


def request_values(
    questions: Mapping[str, dict[str, Any]], title: str, parent: QWidget | None
) -> dict[str, Any] | None:
    """The answers to what magicgui asks for in a modal dialog, by name; None when it is cancelled."""
    form: Container[Any] = Container()
    form.extend(
        create_widget(name=name, **question) for name, question in questions.items()
    )  # labels in a column
    dialog = Dialog(widgets=[Label(value=title), form], labels=False, parent=parent)
    return form.asdict() if dialog.exec() else None


def ask_method_settings(
    config: AdapterConfig, parent: QWidget | None = None, request: Request = request_values
) -> AdapterConfig | None:
    """The config with what the user chooses in a modal dialog; None when it is cancelled or unchanged.

    What the config refuses is told at the top of the dialog, which is then asked again with what was typed.
    """
    questions = settings_of(config)
    title = TITLE.format(method=METHOD_TEXTS[config.method].title)
    while True:
        values = request(questions, title=title, parent=parent)
        if not values:
            return None
        try:
            chosen = config_of(config, values)
        except SamAdaptError as error:
            title = str(error)
            questions = {name: {**asked, "value": values[name]} for name, asked in questions.items()}
        else:
            return None if chosen == config else chosen


def config_of(config: AdapterConfig, values: Mapping[str, Any]) -> AdapterConfig:
    """The config of the same method with these answers; an empty one is the method's default.

    Raises SamAdaptError where the config refuses one.
    """
    words = [f"{name}={value}" for name, value in values.items() if name != "decoder" and value != ""]
    return config.from_words(config.method, words, values["decoder"])


def settings_of(config: AdapterConfig) -> dict[str, dict[str, Any]]:
    """What magicgui is to ask for: the method's options, its blocks, whether prompts learn, the automatic decoder."""
    from napari_samadapt.learning.adapters.config import choices_of

    words = choices_of(config.method)
    questions = {}
    everywhere = {
        "blocks": _as_text(config.blocks),
        "last_blocks": _as_text(config.last_blocks),
        "prompts": config.prompts,
    }
    for name, value in {**config.options, **everywhere}.items():
        text = OPTION_TEXTS[name]
        choices = {"choices": list(words[name])} if name in words else {}
        questions[name] = _question(text.title, value, text.sentence, choices)
    decoders = [(text.title, name) for name, text in DECODER_TEXTS.items()]
    tooltip = "\n".join(f"{text.title}: {text.sentence}" for text in DECODER_TEXTS.values())
    questions["decoder"] = _question("Decoder", config.decoder, tooltip, {"choices": decoders})
    return questions


def _as_text(value: int | tuple[Any, ...] | None) -> str:
    """What is typed for numbers that may be left out."""
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _question(label: str, value: Any, tooltip: str, options: dict[str, Any]) -> dict[str, Any]:
    """A check box, a number or a choice; a line of text for what may be empty or is several numbers."""
    if value is None or isinstance(value, tuple):
        value = _as_text(value)
    elif isinstance(value, float):
        options = {"min": 0.01, "max": 4096, "step": 1}
    elif isinstance(value, int) and not isinstance(value, bool):
        options = {"min": 1, "max": 4096}
    elif isinstance(value, bool):
        options = {"text": ""}
    return {
        "annotation": type(value),
        "label": label,
        "value": value,
        "options": {**options, "tooltip": tooltip},
    }
