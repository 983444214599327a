"""The one error class whose message is shown to the user, and what a log may say of all others."""

import traceback
from pathlib import Path


class SamAdaptError(ValueError):
    """Says what is wrong, which value, and what to do, in plain words.

    The command line prints the message and exits with code 2; the window shows it as a notification.
    """


def for_log(error: BaseException) -> str:
    """The kind of an error and the places in the code that it went through, without its text.

    What a library says in an error may quote a path or a value of a header, and with them the patient.
    """
    lines = []
    seen: BaseException | None = error
    while seen is not None:
        lines.append(type(seen).__name__)
        lines += [
            f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(seen.__traceback__)
        ]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(lines)
