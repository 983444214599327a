"""When the trainer may take its next step: not while a click waits for its mask, not while paused, not once ended."""

from __future__ import annotations

import threading


class Ticket:
    """One episode's permission to go on. Changed by `Gate` only."""

    def __init__(self) -> None:
        self.ended = False
        self.kept = True


class Gate:
    """Shared by the main thread (pause, end), the predict thread (clicks) and the train thread (wait)."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._clicks = 0
        self._paused = False

    def click_came(self) -> None:
        """A click waits for its mask."""
        with self._changed:
            self._clicks += 1

    def click_went(self) -> None:
        """A click was answered or dropped."""
        with self._changed:
            self._clicks -= 1
            self._changed.notify_all()

    def pause(self, paused: bool) -> None:
        """Hold every episode after its current step, or let it go on."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def end(self, ticket: Ticket, *, keep: bool) -> None:
        """End an episode after its current step; with `keep` what it learned is used."""
        with self._changed:
            ticket.ended, ticket.kept = True, keep and ticket.kept
            self._changed.notify_all()

    def wait(self, ticket: Ticket) -> bool:
        """Wait until the next step may be taken; False when the episode has to end. Runs on the train thread."""
        with self._changed:
            self._changed.wait_for(lambda: ticket.ended or not (self._paused or self._clicks))
            return not ticket.ended
