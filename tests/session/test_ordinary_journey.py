"""From a file to masks and an adapter: what the journey asks of the network, and what it leaves on the disk."""

from __future__ import annotations

import socket
import threading
import urllib.request
from contextlib import suppress

import nibabel
import numpy as np
import pytest
from safetensors import safe_open

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning import adapters
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.semantic import SemanticSam
from napari_samadapt.session.messages import LearningPolicy
from napari_samadapt.session.session import Session

PLANTED = "ZQXPLANTED"
KEY = SliceKey(0, 2)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: urllib.request.urlopen("https://dl.fbaipublicfiles.com/"),
        lambda: socket.create_connection(("192.0.2.1", 443), timeout=1),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    ],
    ids=["http", "tcp", "name", "udp"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_attempt_is_noted_wherever_it_is_made_and_caught(no_network, ask):
    def quietly() -> None:
        with suppress(OSError):
            ask()

    thread = threading.Thread(target=quietly)
    thread.start()
    thread.join(10)
    assert no_network
    no_network.clear()


@pytest.fixture
def scan(tmp_path):
    """A NIfTI file with an identifier in its path and its header."""
    data = np.random.default_rng(0).normal(50, 5, (6, 24, 20)).astype(np.float32)
    data[:, 6:16, 5:14] += 100
    image = nibabel.Nifti1Image(data.T, np.diag([-1.0, -1.0, 2.0, 1.0]))
    image.header["descrip"] = PLANTED.encode()
    path = tmp_path / f"{PLANTED} ward" / f"{PLANTED}.nii.gz"
    path.parent.mkdir()
    nibabel.save(image, path)
    return path


@pytest.fixture
def open_session(queue):
    opened = []

    def make(volume, sam) -> Session:
        opened.append(Session(volume, sam, post=queue, policy=LearningPolicy(enabled=False)))
        return opened[-1]

    yield make
    for session in opened:
        session.close()


def test_the_journey_asks_nothing_of_the_network_and_plants_nothing(
    no_network, open_session, queue, scan, tmp_path
):
    """With `mini` as it is loaded by everybody: open, prompt, accept, learn, export, save the adapter."""
    session = open_session(read_volume(scan), load_sam("mini"))
    drafts = []
    session.drafted.connect(drafts.append)
    session.set_prompts(KEY, Prompts(box=np.array([4, 5, 14, 16], np.float32)))
    assert queue.run_until(lambda: bool(drafts))
    session.accept(KEY)
    session.set_policy(LearningPolicy(seconds=None, steps=3, enabled=False))
    session.start_learning()
    assert queue.run_until(lambda: session.adapter_version > 0 and session.learning_state == "off")
    assert queue.run_until(lambda: not session.refreshing)
    assert session.export(tmp_path / "masks.nii.gz").is_file()
    path = tmp_path / "organs.safetensors"
    saving = session.save_adapter(path)
    assert queue.run_until(saving.done)
    session.save(tmp_path / "session")
    assert PLANTED.encode() not in path.read_bytes()
    with safe_open(path, "pt") as kept:
        names, told = set(kept.keys()), kept.metadata()
    model = SemanticSam(load_sam("mini"), (1,))
    adapters.insert(model.sam, session.config)
    assert names == set(adapters.trainable(model)), "it holds something else than what was trained"
    assert set(told) == {"card"}
