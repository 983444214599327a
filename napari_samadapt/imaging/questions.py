"""What a reader asks where a file can be understood in several ways, and the answers it was given.

A question that nobody answered is an error like any other, so that nothing is guessed. The window shows its choices
as buttons, the command line names the option, and a Python caller reads again with `choices={name: value}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import SamAdaptError

QUESTIONS = {
    "transform": "which position of a NIfTI file that states two: sform or qform",
    "time": "which volume of a file that holds several, counted from 0",
    "pages": "the pages of a picture file as slices (stack), or one page, counted from 0",
    "series": "which images of a DICOM folder, as the message lists them",
    "damaged": "leave-out: open a DICOM folder without its damaged files",
    "stack": "resample DICOM slices that are uneven, tilted or have a gap, or one even piece of them",
    "coding": "how a label file codes its objects: ids, mask, colors or threshold",
    "grid": "resample label files of another grid, or take them voxel by voxel (voxels)",
}
"""The names of all questions, and what each decides."""

_SHOWN = 12  # choices that fit into a sentence


@dataclass(frozen=True)
class Choice:
    """One possible answer: the `value` that is given back, and what it means, as plain text."""

    value: str
    text: str


@dataclass(frozen=True)
class Question:
    """What has to be decided before a file can be read. `name` is one of QUESTIONS; all texts are plain."""

    name: str
    text: str
    choices: tuple[Choice, ...]

    def sentence(self, option: str = "") -> str:
        """The question and its answers on one line, each answer written after `option`."""
        listed = [
            f"{option}{self.name}={choice.value} ({choice.text})"
            for choice in (
                self.choices if len(self.choices) <= _SHOWN else (*self.choices[:2], self.choices[-1])
            )
        ]
        if len(self.choices) > _SHOWN:
            listed.insert(2, "…")
        return f"{self.text} Choose {', '.join(listed)}."


class QuestionError(SamAdaptError):
    """A file can be read in several ways, and `question` says which; read again with an answer."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.sentence())
        self.question = question


class Answers:
    """The answers that are known while one file is read, and those that were needed.

    Raises SamAdaptError for a name that is no question.
    """

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        self._given = dict(given or {})
        self.used: dict[str, str] = {}
        for name in self._given:
            if name not in QUESTIONS:
                raise SamAdaptError(f"There is no question {name!r}: use one of {', '.join(QUESTIONS)}.")

    def to(self, question: Question) -> str:
        """The value that answers `question`.

        Raises QuestionError where there is no answer, and SamAdaptError for one that is none of the choices.
        """
        if question.name not in self._given:
            raise QuestionError(question)
        value = self._given[question.name]
        if value not in {choice.value for choice in question.choices}:
            raise SamAdaptError(f"{value!r} is no answer here. {question.sentence()}")
        self.used[question.name] = value
        return value


def which_volume(count: int, sizes: str, name: str, answers: Answers, step: str = "") -> int:
    """The index of the one volume to read of `count` (more than 1); `sizes` is the file's size as text."""
    choices = tuple(Choice(str(index), f"volume {index}") for index in range(count))
    text = f"{name} holds {count} volumes ({sizes}{step}), counted from 0: which one is to be opened?"
    return int(answers.to(Question("time", text, choices)))


def one_of_several(number: int, count: int) -> str:
    """What the user is told of a volume out of several."""
    return f"Volume {number} of 0 to {count - 1} is open; a mask is written for it alone."
