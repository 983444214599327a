"""Adapt a Segment Anything Model to the medical volume being annotated, live, inside napari."""

__version__ = "0.1.0"
