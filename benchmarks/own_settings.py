"""Settings, caches and journals of nobody, for a window that is measured."""

from pathlib import Path


def own_settings(folder: Path) -> dict[str, str]:
    """Environment variables that keep what a window stores, napari's settings too, below `folder`."""
    homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    return {**homes, "NAPARI_CONFIG": str(folder / "napari.yaml")}
