"""The model that the next session adapts: which one it is, and that it is loaded in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import notify
from .file_acts import FileActs, model_is_here
from .panels.volume import VolumePanel
from .preferences import preferences


class NextModel:
    """`arrived` is called on the main thread when a model is here, `failed` when it could not be loaded."""

    def __init__(
        self,
        files: FileActs,
        panel: VolumePanel,
        say: Callable[[str], None],
        arrived: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        self._files, self._panel, self._say = files, panel, say
        self._arrived, self._failed = arrived, failed
        self.name = preferences().model
        """Of the model that was loaded last; until there is one, of the one that the user prefers."""
        self.loading = False
        self._sam: Any = None

    @property
    def is_here(self) -> bool:
        """True once it is loaded, until a session takes it."""
        return self._sam is not None

    def take(self) -> Any:
        """The model, for one session: it adapts it, so the next session gets a fresh one."""
        sam, self._sam = self._sam, None
        return sam

    def choose(self, name: str) -> None:
        """Load another model at the user's wish, who is asked before it is downloaded."""
        if self._files.may_download(name):
            self.load(name)
        else:
            self._panel.set_model(self.name)

    def load(self, name: str) -> None:
        """Load a SAM by name or from a file, in the background."""
        self._panel.set_model(name, busy=True)
        self.loading = True

        def failed(error: BaseException) -> None:
            self.loading = False
            self._panel.set_model(self.name)
            notify.report(error)
            self._failed()

        def done(sam: Any) -> None:
            self.loading = False
            self.name, self._sam = name, sam
            self._panel.set_model(name)
            self._arrived()

        self._files.load_model(name, done, failed, self._say)

    def expect(self) -> None:
        """Have the model loaded, unless it is here or on its way."""
        if not self.is_here and not self.loading:
            self.load(self.name)

    def expect_without_download(self) -> None:
        """As `expect`, at the start, when nobody was asked for a download: `mini` where there would be one."""
        if self.is_here or self.loading:
            return
        if self.name != "mini" and not model_is_here(self.name):
            notify.tell(f"{self.name} is not on this computer: download it under Models. mini is used now.")
            self.name = "mini"
        self.load(self.name)
