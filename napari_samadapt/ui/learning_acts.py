"""The acts on learning: start, pause, stop, roll back, reset; when, how long and by which method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .method_settings import ask_method_settings
from .workplace import Workplace


class LearningActs:
    """Listens to the section on learning."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._session = session = place.session
        on, panel = place.on, place.panels.learning
        on(panel.started, session.start_learning)
        on(panel.paused, session.pause)
        on(panel.resumed, session.resume)
        on(panel.stopped, session.stop)
        on(panel.rolled_back, session.roll_back)
        on(panel.reset, session.reset_adapter)
        on(panel.enabled, lambda on: self.set_policy(enabled=on))
        on(panel.seconds, lambda seconds: self.set_policy(seconds=float(seconds)))
        on(panel.method, self.set_method)
        on(panel.settings, self.change_settings)

    def set_policy(self, **changes: Any) -> None:
        """Change when and for how long the model learns."""
        self._session.set_policy(replace(self._session.policy, **changes))

    def set_method(self, method: str) -> None:
        """Train another kind of adapter from now on, in the same blocks and with the same automatic decoder."""
        self._session.set_method(self._session.config.of_method(method))

    def change_settings(self) -> None:
        """Ask for the options of the method and for the decoder, and train that kind of adapter from now on."""
        config = ask_method_settings(self._session.config, self._place.panels.learning)
        if config is not None:
            self._session.set_method(config)
