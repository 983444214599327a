"""How the command line ends when something is wrong: one plain sentence on stderr, and an exit code.

2 for input that cannot be used, 1 for a defect of the program, 130 for an interruption.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import typer

from napari_samadapt.imaging.errors import SamAdaptError, for_log
from napari_samadapt.imaging.questions import QuestionError

_EXIT_DEFECT, _EXIT_BAD_INPUT, _EXIT_INTERRUPTED = 1, 2, 130
_WRITE_AT_THE_END = ("segment", "adapt", "predict", "evaluate", "simulate", "doctor")
"""The commands that have written nothing when something unexpected stops them."""
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""What typer raises for words that no command takes; older versions have it in click, newer ones within."""
_log = logging.getLogger(__name__)


@contextmanager
def told_mistakes(program: str, words: list[str]) -> Iterator[None]:
    """Exit with a sentence and a code when the block, `program` run with `words`, fails."""
    try:
        yield
    except QuestionError as error:
        _stop(program, error.question.sentence("--choose "), _EXIT_BAD_INPUT)
    except SamAdaptError as error:
        _stop(program, str(error), _EXIT_BAD_INPUT)
    except _UsageError as error:
        _stop(program, _usage_sentence(program, error), _EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001  # nobody should have to read a traceback
        _log.debug("The command failed: %s", for_log(error))
        _stop(program, _defect_sentence(program, words, error), _EXIT_DEFECT)


def _stop(program: str, sentence: str, code: int) -> NoReturn:
    plain = "".join(
        letter if letter.isprintable() else "?" for letter in sentence
    )  # file names may hold codes
    sys.stderr.write(f"{program}: {plain}\n")
    sys.exit(code)


def _usage_sentence(program: str, error: Any) -> str:
    """What is wrong with the words, on one line, and where to read what they may be."""
    wrong = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx else program
    return f"{wrong}; {command} --help lists what can be given."


def _defect_sentence(program: str, words: list[str], error: Exception) -> str:
    if isinstance(error, typer.Abort) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # typer turns an EOFError into it
    message = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    unwritten = "Nothing was written; please" if words[:1] and words[0] in _WRITE_AT_THE_END else "Please"
    return f"Something went wrong ({what}). {unwritten} report it with what `{program} doctor` prints."
