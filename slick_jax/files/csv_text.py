"""Tables as CSV that no spreadsheet takes for formulas: their texts come from data rows and from models.

A text that begins with = + - @, a tab or a line break gets an apostrophe in front, and so does one that has apostrophes
before such a character, so that taking one away again (`plain`) gives every text back. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import re
from typing import Any

import pandas as pd

# Also the wide forms, which spreadsheets of East Asian settings read as the plain ones.
_ACTIVE = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def of(table: pd.DataFrame) -> str:
    """The table with a line of column names, without its index."""
    inert = table.rename(columns=guarded)
    for place in range(inert.shape[1]):
        if not pd.api.types.is_numeric_dtype(inert.dtypes.iloc[place]):  # numbers keep their type, and so their digits
            inert.isetitem(place, inert.iloc[:, place].map(guarded))
    # Python quotes what holds the line end, and readers take a bare return for one, too.
    returns = any("\r" in str(one) for one in (*inert.columns, *inert.select_dtypes(exclude="number").to_numpy().flat))
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return inert.to_csv(index=False, lineterminator="\n", quoting=quoting)


def guarded(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula, made inert; any other value as it is."""
    return f"'{value}" if isinstance(value, str) and _ACTIVE.match(value) else value


def plain(text: str) -> str:
    """The text that `guarded` made this of."""
    return text[1:] if text.startswith("'") and _ACTIVE.match(text) else text
