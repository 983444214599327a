"""The page on adding an adapter does what it says."""

import re
from pathlib import Path

import pytest
import torch

from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import config
from napari_samadapt.learning.method_texts import METHOD_TEXTS, MethodText
from napari_samadapt.learning.predict import encode_slice

PAGE = Path(__file__).parents[2] / "docs" / "adding_an_adapter.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def page(monkeypatch):
    """The names that the code of the page defines, registered as the page says."""
    names: dict = {}
    for block in BLOCKS[:2]:
        exec(compile(block, str(PAGE), "exec"), names)
    monkeypatch.setitem(config.ATTACH, "gated", names["attach_gated"])
    monkeypatch.setitem(METHOD_TEXTS, "gated", MethodText("Gated", "Gates.", "", "plain weights"))
    return names


def test_the_code_of_the_page_runs(page, capsys):
    exec(compile(BLOCKS[2], str(PAGE), "exec"), page)
    assert capsys.readouterr().out.startswith("4 adapters,")


def test_its_adapter_keeps_the_rules(page):
    from napari_samadapt.learning.sam import load_sam

    sam = load_sam("mini")
    image = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)).numpy()
    plain = encode_slice(sam, image).features
    adapters.insert(sam, config.AdapterConfig("gated", last_blocks=2))
    assert torch.equal(encode_slice(sam, image).features, plain), "it starts as the frozen SAM"
    with torch.no_grad():
        for parameter in adapters.trainable(sam).values():
            parameter.normal_(std=0.1)
    trained = encode_slice(sam, image).features
    assert not torch.allclose(trained, plain)
    adapters.merge(sam)
    assert not adapters.adapters_of(sam)
    assert torch.allclose(encode_slice(sam, image).features, trained, atol=1e-4)


@pytest.mark.parametrize("name", ["ATTACH", "METHOD_TEXTS", "OPTION_TEXTS", "AdapterConfig"])
def test_the_names_that_the_page_speaks_of_exist(name):
    import napari_samadapt.learning.method_texts as texts

    assert hasattr(config, name) or hasattr(texts, name)
