"""Figures that are measured once and kept in a file, so that an interrupted run goes on where it was."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What every figure of a run depends on.

    `scale` shortens or lengthens all seconds of learning; prompts ask for every `every`-th region.
    """

    data: Path
    model: str
    cases: tuple[str, ...]
    choices: tuple[str, ...]
    seeds: tuple[int, ...]
    threads: int
    scale: float
    every: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Not where the data are, and not what is only a choice of what to measure."""
        left_out = ("data", "cases", "choices", "seeds")
        return {name: value for name, value in asdict(self).items() if name not in left_out}


class Record:
    """The figures of a report by their names, and its file. SystemExit where the file is of another run."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path, self._settings = path, settings.as_dict()
        self.figures: dict[str, Any] = {}
        if path.exists():
            report = json.loads(path.read_text())
            if report["settings"] != self._settings:
                raise SystemExit(f"{path} was measured with {report['settings']}: name another --report.")
            self.figures = report["figures"]

    def once(self, name: str, measure: Callable[..., Any], *arguments: Any) -> None:
        """Measure this figure, anything that JSON holds, with these arguments, unless it is known."""
        if name in self.figures:
            return
        started = time.perf_counter()
        self.figures[name] = measure(*arguments)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps({"settings": self._settings, "figures": self.figures}, indent=1) + "\n")
        part.replace(self._path)
        print(f"  {name}: {brief(self.figures[name])}  ({time.perf_counter() - started:.0f} s)", flush=True)


def brief(value: Any) -> str:
    """A figure on one line: numbers to three places, without what is a list."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {brief(part)}" for key, part in value.items() if not isinstance(part, list))
    return str(value)
