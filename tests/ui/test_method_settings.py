"""The numbers of a method, asked for in a dialog."""

import pytest
from magicgui.widgets import create_widget

from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.method_texts import METHOD_TEXTS
from napari_samadapt.ui.method_settings import ask_method_settings, settings_of


def answering(**values):
    return lambda questions, **_options: values or None


@pytest.mark.parametrize(
    ("method", "asked"),
    [(name, list(text.numbers)) for name, text in METHOD_TEXTS.items()],
)
def test_only_what_the_method_has_is_asked_for(qtbot, method, asked):
    config = AdapterConfig(method)
    questions = settings_of(config)
    assert list(questions) == [*asked, "decoder"]
    for name, question in questions.items():
        assert create_widget(**question).value == getattr(config, name)


def test_the_answer_becomes_a_config():
    chosen = ask_method_settings(AdapterConfig("conv-lora"), request=answering(rank=8, alpha=16.0, experts=4))
    assert chosen == AdapterConfig("conv-lora", rank=8, alpha=16.0, experts=4)


def test_the_decoder_is_chosen_in_words(qtbot):
    question = settings_of(AdapterConfig("decoder-only", decoder="queries"))["decoder"]
    assert create_widget(**question).native.currentText() == "Mask queries"
    chosen = ask_method_settings(AdapterConfig("lora"), request=answering(decoder="queries"))
    assert chosen == AdapterConfig("lora", decoder="queries")


@pytest.mark.parametrize("values", [{}, {"rank": 3}])
def test_nothing_changes_when_it_is_cancelled_or_the_same(values):
    assert ask_method_settings(AdapterConfig("conv-lora"), request=answering(**values)) is None
