"""What the window remembers from one time to the next: small values in an INI file of the user."""

from __future__ import annotations

from platformdirs import user_config_path
from qtpy.QtCore import QSettings


def is_open(section: str, default: bool = True) -> bool:
    """Whether a section of the dock was left open."""
    return bool(_settings().value(f"open/{section}", default, type=bool))


def set_open(section: str, open_: bool) -> None:
    """Remember whether a section of the dock is open."""
    _settings().setValue(f"open/{section}", open_)


def is_done(what: str) -> bool:
    """Whether something that is shown once was shown."""
    return bool(_settings().value(f"done/{what}", False, type=bool))


def set_done(what: str) -> None:
    """Remember that something was shown."""
    _settings().setValue(f"done/{what}", True)


def _settings() -> QSettings:
    return QSettings(str(user_config_path("napari-samadapt") / "window.ini"), QSettings.Format.IniFormat)
