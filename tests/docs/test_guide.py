"""The guide and the notebook keep what they promise: links, keys, pictures, outputs of cells that ran."""

import json
import re
from pathlib import Path

import pytest

from napari_samadapt.ui.keys import KEYS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["guide.md", "adding_an_adapter.md"])
def test_every_link_leads_somewhere(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lower().lstrip("# ")).replace(" ", "-")
                for line in text.splitlines() if line.startswith("#")}  # fmt: skip
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("http"):
            assert (DOCS / target).exists(), target


def test_every_key_of_the_window_is_in_the_guide():
    table = (DOCS / "guide.md").read_text(encoding="utf-8").split("| key | | key | |")[1].split("##")[0]
    told = set(re.split(r"[|,\s]+", table))
    written = {key.replace("Control-", "Ctrl+").replace("Shift-", "Shift+") for key in KEYS.values()}
    assert written - {"Backspace"} <= told


def test_every_cell_of_the_tutorial_ran_without_an_error():
    cells = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["outputs"] for cell in code)
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    assert "mean Dice" in json.dumps(code)
