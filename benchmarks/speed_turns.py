"""Trainers in processes of their own, one at work at a time: each does a step, then waits while the next one does."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
CHILD = Path(__file__).with_name("speed_child.py")


@dataclass(frozen=True)
class Recipe:
    """How a trainer is called: what speed_child.py is asked, by which Python, with what around it."""

    name: str
    asked: dict[str, Any]
    python: str
    environment: dict[str, str] = field(default_factory=dict)


class Trainer:
    """A started trainer, at its first step or waiting after one."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.name, self.is_over, self.log = recipe.name, False, folder / f"{recipe.name}.log"
        (folder / "out").mkdir(parents=True)
        asked = {**recipe.asked, "out": str(folder / "out"), "began": time.time()}
        asked = {name: _filled(value, folder) for name, value in asked.items()}
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [recipe.python, str(CHILD), json.dumps(asked)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env={**os.environ, **recipe.environment},
            )

    def turn(self, *, goes_on: bool = True) -> Iterator[Row]:
        """The rows by its next step, or to its end after the last one. Raises RuntimeError where it fails."""
        if goes_on:
            self._say("\n")
        assert self._process.stdout is not None
        for line in self._process.stdout:
            row = json.loads(line)
            yield row
            if row["kind"] in ("step", "end"):
                self.is_over = row["kind"] == "end"
                return
        self._process.wait()
        raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.log.read_text()[-3000:]}")

    def close(self) -> None:
        """Let it end by itself where it is over, else end it."""
        if self.is_over:
            self._process.wait()
        else:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()


def side_by_side(recipes: Sequence[Recipe], folder: Path, tell: Callable[[Row], None]) -> None:
    """All of them, step by step in turns; every row gets its trainer's name."""
    trainers: list[Trainer] = []
    try:
        for recipe in recipes:
            trainers.append(Trainer(recipe, folder / recipe.name))
            _told(trainers[-1], tell, goes_on=False)
        while any(not trainer.is_over for trainer in trainers):
            for trainer in trainers:
                if not trainer.is_over:
                    _told(trainer, tell)
    finally:
        for trainer in trainers:
            trainer.close()


def _told(trainer: Trainer, tell: Callable[[Row], None], *, goes_on: bool = True) -> None:
    for row in trainer.turn(goes_on=goes_on):
        tell({"trainer": trainer.name, **row})


def _filled(value: Any, folder: Path) -> Any:
    """The arguments name the output folder as {out}."""
    if isinstance(value, list):
        return [_filled(one, folder) for one in value]
    return value.replace("{out}", str(folder / "out")) if isinstance(value, str) else value
