"""The one place that tells the user something: napari notifications, always from the main thread."""

from __future__ import annotations

import functools
import html
import logging
from collections.abc import Callable
from typing import Any

from napari.utils.notifications import show_error as _napari_error
from napari.utils.notifications import show_info as _napari_info

from napari_samadapt.imaging.errors import SamAdaptError, for_log

from .toasts import show_whole

_log = logging.getLogger(__name__)


def tell(message: str) -> None:
    """Show a hint."""
    _show(_napari_info, message)


def warn(message: str) -> None:
    """Show what went wrong and what to do; used for Session.failed."""
    _show(_napari_error, message)


def _show(how: Callable[[str], None], message: str) -> None:
    """Text from files is escaped: napari's notification would render it as rich text."""
    escaped = html.escape(message, quote=False)
    how(escaped)
    show_whole(escaped)


def report(error: BaseException) -> None:
    """Show an error: our own by its message, any other by its kind, with its places in the log."""
    if isinstance(error, SamAdaptError):
        warn(str(error))
        return
    _log.error("unexpected error: %s", for_log(error))
    warn(
        f"Something unexpected went wrong ({type(error).__name__}). "
        "Your masks are kept; export them to be safe."
    )


def reported(function: Callable[..., object]) -> Callable[..., None]:
    """A slot whose errors are shown instead of raised into Qt's event loop."""

    @functools.wraps(function)
    def slot(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # Qt would abort or swallow it
            report(error)

    return slot
