"""The napari side: dock, layers and contributions."""
