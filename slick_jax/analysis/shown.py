"""A figure of a page: its image, its numbers, and the words that go with both."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from slick_jax.analysis import canvas
from slick_jax.files import csv_text


@dataclass(frozen=True)
class Shown:
    """A figure with the caption that says how to read it."""

    file: str  # name below figures/, without its ending; its numbers are tables/<file>.csv
    title: str
    caption: str  # how to read it
    image: bytes  # PNG
    numbers: pd.DataFrame

    @property
    def source(self) -> str:
        """The image as a data URL, so that the page works from disk alone."""
        return "data:image/png;base64," + base64.b64encode(self.image).decode("ascii")

    @property
    def csv(self) -> str:
        """The numbers as a data URL, to be saved from the page alone."""
        return "data:text/csv;base64," + base64.b64encode(csv_text.of(self.numbers).encode()).decode("ascii")

    @property
    def alternative(self) -> str:
        """What stands for the image where it cannot be seen; the caption follows it anyway."""
        return f"Chart: {self.title}. Its {len(self.numbers):,} rows of numbers are in the CSV named below."


def shown(file: str, title: str, caption: str, figure: Figure, numbers: pd.DataFrame) -> Shown:
    """The figure drawn."""
    return Shown(file, title, caption, canvas.png(figure), numbers)
