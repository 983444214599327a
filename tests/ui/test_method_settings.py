"""The options of a method, asked for in a dialog."""

import pytest
from magicgui.widgets import create_widget

from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.method_texts import METHOD_TEXTS
from napari_samadapt.ui.method_settings import ask_method_settings, config_of, settings_of


class Answers:
    """Stands for the dialog: gives what it shows with one change after the other, and remembers its titles."""

    def __init__(self, *changes):
        self.changes = iter(changes)
        self.titles, self.shown = [], []

    def __call__(self, questions, title, parent):
        self.titles.append(title)
        self.shown.append({name: create_widget(**question).value for name, question in questions.items()})
        change = next(self.changes)
        return None if change is None else {**self.shown[-1], **change}


@pytest.mark.parametrize("method", METHOD_TEXTS)
def test_every_option_of_every_method_is_shown_as_it_is_and_nothing_else(qtbot, method):
    config = AdapterConfig(method)
    questions = settings_of(config)
    assert list(questions) == [*config.options, "blocks", "last_blocks", "prompts", "decoder"]
    widgets = {name: create_widget(**question) for name, question in questions.items()}
    assert all(widget.tooltip for widget in widgets.values())
    assert config_of(config, {name: widget.value for name, widget in widgets.items()}) == config


@pytest.mark.parametrize(
    ("method", "answers", "chosen"),
    [
        ("conv-lora", {"rank": 8, "alpha": 16.5, "top_k": 2}, {"rank": 8, "alpha": 16.5, "top_k": 2}),
        ("conv-lora", {"scales": "1, 2,4", "gated": False}, {"scales": (1, 2, 4), "gated": False}),
        ("conv-lora", {"paper_literal": True, "interpolation": "bilinear"},
         {"paper_literal": True, "interpolation": "bilinear"}),
        ("lora", {"targets": "q,v", "blocks": "3,2"}, {"targets": "q,v", "blocks": (2, 3)}),
        ("cobot-lora", {"preset": "official", "relation": "random"}, {"preset": "official", "relation": "random"}),
        ("ssf", {"neck": True}, {"neck": True}),
        ("vpt", {"prompts": True}, {"prompts": True}),
        ("decoder-only", {"decoder": "queries"}, {"decoder": "queries"}),
    ],
)  # fmt: skip
def test_the_answer_becomes_a_config(qtbot, method, answers, chosen):
    assert ask_method_settings(AdapterConfig(method), request=Answers(answers)) == AdapterConfig(
        method, **chosen
    )


def test_what_was_chosen_before_is_shown_and_can_be_emptied(qtbot):
    config = AdapterConfig("conv-lora", scales=(2, 5), last_blocks=2)
    request = Answers({"scales": "", "last_blocks": ""})
    assert ask_method_settings(config, request=request) == AdapterConfig("conv-lora")
    assert request.shown[0]["scales"] == "2,5"
    assert request.shown[0]["last_blocks"] == "2"


@pytest.mark.parametrize(
    ("method", "wrong", "told"),
    [
        ("conv-lora", {"scales": "1,x"}, "scales cannot be '1,x'"),
        ("lora", {"blocks": "1,1"}, "blocks cannot be"),
        ("cobot-lora", {"rank": 6}, "4"),
    ],
)
def test_what_the_config_refuses_is_told_and_asked_again(qtbot, method, wrong, told):
    request = Answers({**wrong, "decoder": "queries"}, None)
    assert ask_method_settings(AdapterConfig(method), request=request) is None
    assert "plain model" in request.titles[0]
    assert told in request.titles[1]
    assert request.shown[1].items() >= {**wrong, "decoder": "queries"}.items(), "what was typed is gone"


def test_the_decoder_is_chosen_in_words(qtbot):
    question = settings_of(AdapterConfig("decoder-only", decoder="queries"))["decoder"]
    assert create_widget(**question).native.currentText() == "Mask queries"


@pytest.mark.parametrize("change", [None, {}])
def test_nothing_changes_when_it_is_cancelled_or_the_same(qtbot, change):
    assert ask_method_settings(AdapterConfig("conv-lora"), request=Answers(change)) is None
