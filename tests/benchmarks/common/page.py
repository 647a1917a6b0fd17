"""The generated parts of a Markdown page.

A section stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`; the rest of the page is written by
hand and never touched. In a section, each table begins with `<!-- table: NAME -->`. Tables that are not written anew
stay to the letter, so a run of one scenario changes that one's table; what belongs to no table is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

MARK = re.compile(r"^<!-- table: (\S+) -->$", re.MULTILINE)


class MarkerError(ValueError):
    """The page lacks the markers of the section that is to be changed."""


def replace_tables(page: str, section: str, tables: Mapping[str, str], order: Sequence[str]) -> str:
    """Give `page` with `tables` (name -> Markdown) in `section`. `order` names all that there may be.

    Raises MarkerError, or ValueError for a table that is not in `order`."""
    opening, closing = f"<!-- generated: {section} -->", f"<!-- end of {section} -->"
    before, found, rest = page.partition(opening)
    content, ended, after = rest.partition(closing)
    if not found or not ended:
        raise MarkerError(f"the page needs a line {opening!r} and after it a line {closing!r}")
    if unknown := sorted(set(tables) - set(order)):
        raise ValueError(f"no place for the tables {', '.join(unknown)}; there are: {', '.join(order)}")
    _, *pieces = MARK.split(content)
    kept = dict(zip(pieces[::2], pieces[1::2], strict=True)) | dict(tables)
    parts = [f"<!-- table: {name} -->\n\n{kept[name].strip()}" for name in order if name in kept]
    joined = "\n\n".join(parts)
    return f"{before}{opening}\n\n{joined}\n\n{closing}{after}"


def write_tables(path: Path, section: str, tables: Mapping[str, str], order: Sequence[str]) -> None:
    """Change the page at `path`. Raises MarkerError or ValueError; then nothing is written."""
    page = replace_tables(path.read_text(encoding="utf-8"), section, tables, order)
    path.write_text(page, encoding="utf-8")
