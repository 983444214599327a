"""Learning is begun, paused, stopped and thrown away a hundred times in quick succession."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.session.messages import LearningPolicy

KEY = SliceKey(0, 2)
ROUNDS = 100


@pytest.mark.parametrize("seed", [0, 1])
def test_a_hundred_quick_restarts(make_session, queue, seed):
    """Each stop takes less than two seconds, no thread is left behind, and clicks and learning work afterwards."""
    session = make_session(policy=LearningPolicy(seconds=None, steps=10_000, enabled=False))
    session.annotation[2, 6:16, 5:14] = 1
    session.record_edit(np.nonzero(session.annotation), np.zeros(90, np.uint16), np.ones(90, np.uint16))
    session.accept(KEY)
    masks, failures, steps = session.annotation.copy(), [], []
    session.failed.connect(failures.append)
    session.progress.connect(steps.append)
    rng, threads, slowest = random.Random(seed), threading.active_count(), 0.0
    for _ in range(ROUNDS):
        taken = len(steps)
        session.start_learning()
        assert session.learning_state == "training"
        if rng.random() < 0.2:
            assert queue.run_until(lambda taken=taken: len(steps) > taken, 30)
        if rng.random() < 0.3:
            session.pause()
            if rng.random() < 0.5:
                session.resume()
        began = time.monotonic()
        rng.choice([session.stop, session.stop, session.stop, session.reset_adapter])()
        assert queue.run_until(lambda: session.learning_state == "off", 30)
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2
    assert failures == []
    assert threading.active_count() <= threads
    assert np.array_equal(session.annotation, masks)
    drafts, version = [], session.adapter_version
    session.drafted.connect(drafts.append)
    session.set_prompts(SliceKey(0, 4), Prompts(box=np.array([4, 5, 14, 16], np.float32)))
    assert queue.run_until(lambda: bool(drafts), 30)
    taken = len(steps)
    session.start_learning()
    assert queue.run_until(lambda: len(steps) > taken, 30)
    session.stop()
    assert queue.run_until(lambda: session.adapter_version > version, 30)
