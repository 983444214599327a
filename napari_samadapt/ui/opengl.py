"""Prints the OpenGL version and renderer that Qt gives; run as `python -m napari_samadapt.ui.opengl`.

`doctor` runs it in a process of its own, because a Qt that misses a system library aborts its process.
"""

import sys

from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext


def opengl_version() -> str:
    """The version and renderer of a new OpenGL context; raises RuntimeError where there is none."""
    surface = QOffscreenSurface()
    surface.create()
    context = QOpenGLContext()
    if not context.create() or not context.makeCurrent(surface):
        raise RuntimeError("Qt cannot make an OpenGL context here")
    from OpenGL import GL

    version, renderer = (GL.glGetString(name).decode() for name in (GL.GL_VERSION, GL.GL_RENDERER))
    context.doneCurrent()
    return f"{version}, {renderer}"


if __name__ == "__main__":
    application = QGuiApplication(sys.argv)
    try:
        sys.stdout.write(opengl_version() + "\n")
    except RuntimeError as error:
        sys.exit(str(error))
