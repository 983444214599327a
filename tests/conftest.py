"""Fixtures that every layer's tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from napari_samadapt.learning.promptable_sam import PromptableSam


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory, monkeypatch):
    """No test sees or leaves a journal or activations in the user's folders."""
    monkeypatch.setenv("SAMADAPT_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("SAMADAPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files beside the project; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real files are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def make_small_sam() -> Callable[[], PromptableSam]:
    """Builds a complete SAM of 64 pixels with random weights, always the same: quick, no download."""

    def make() -> PromptableSam:
        import torch

        from napari_samadapt.learning.sam import VitShape, build_vit

        torch.manual_seed(0)
        shape = VitShape(width=32, depth=2, heads=4, global_blocks=(1,), window=2, decoder_width=32, patch=16)
        sam = build_vit(shape, 64, "tiny")
        sam.base_sha256 = "0" * 64
        return sam.requires_grad_(False)

    return make


class Wire:
    """Refuses the network to this process while it `listens`, on every thread, and notes who asked for it."""

    CALLS = (
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
        "socket.sendto",
        "socket.sendmsg",
    )

    def __init__(self) -> None:
        self.listens = False
        self.attempts: list[str] = []
        sys.addaudithook(self._hear)  # which cannot be taken away again

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.listens or event not in self.CALLS:
            return
        where = given[1] if event.startswith(("socket.connect", "socket.send")) else given[0]
        if isinstance(where, tuple | str) and not (event == "socket.connect" and isinstance(where, str)):
            self.attempts.append(f"{event} {where}")
            raise PermissionError(f"the tests allow no network: {event} {where}")


@pytest.fixture(scope="session")
def _wire() -> Wire:
    return Wire()


@pytest.fixture
def no_network(_wire: Wire) -> Iterator[list[str]]:
    """The network is refused, and a test that asked for it fails, also where somebody caught the error.

    Gives the attempts so far. Sockets of this computer that have no address (displays, pairs) are none.
    """
    _wire.attempts, _wire.listens = [], True
    yield _wire.attempts
    _wire.listens = False
    assert _wire.attempts == [], "the network was asked for"
