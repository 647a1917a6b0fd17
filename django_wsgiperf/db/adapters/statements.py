"""What a statement leaves behind in its session, told from its text: nothing, state for later, or a need of state.

It errs to one side: first words that are not known to be harmless count as leaving something. What a stored function
does inside cannot be seen here; RESET "hard" is for those who use such functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

CLEAN = 0
READS = 1
"""It asks for what an earlier statement of the same session has left, as LAST_INSERT_ID() does."""
SETS = 2
"""It changes the session beyond its transaction."""
SPOILS = 3
"""It changes the session in a way that no reset undoes."""

_FIRST_WORD = re.compile(r"(?:\s+|\(|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*([a-z]+)", re.DOTALL)
_COMMENT_MARKS = ("/*", "--", "#")
_COMMENT = re.compile(r"/\*.*?\*/|(?:--|#)[^\n]*", re.DOTALL)
_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 4096

Rule = Callable[[str], bool]


class Statements:
    """The rules of one database.

    `harmless` are first words that leave nothing, each with the rule that says so of the whole lower-case text, or
    None. `spoiling`, `setting` and `reading` are tried where one of their keys occurs anywhere in it: a plain search is
    many times faster than a pattern over a long statement.
    """

    def __init__(
        self,
        harmless: Mapping[str, Rule | None],
        setting: Mapping[str, re.Pattern[str]],
        reading: Mapping[str, re.Pattern[str]],
        spoiling: Mapping[str, re.Pattern[str]] | None = None,
    ) -> None:
        self._harmless = dict(harmless)
        self._setting = dict(setting)
        self._reading = dict(reading)
        self._spoiling = dict(spoiling or {})
        self.known: dict[str, int] = {}
        """Verdicts by text: texts repeat, since values are apart. Racing threads can only compute the same twice."""

    def verdict(self, sql: str) -> int:
        """CLEAN, READS, SETS or SPOILS."""
        known = self.known.get(sql)
        if known is not None:
            return known
        verdict = self._judge(sql.lower())
        if len(sql) <= _LONGEST_REMEMBERED:
            if len(self.known) >= _MOST_REMEMBERED:
                self.known.clear()
            self.known[sql] = verdict
        return verdict

    def _judge(self, text: str) -> int:
        verdict = self._judge_as_it_stands(text)
        if verdict != SPOILS and any(mark in text for mark in _COMMENT_MARKS):
            # A comment may stand between any two words. What looks like one may be a part of a value: so both count.
            verdict = max(verdict, self._judge_as_it_stands(_COMMENT.sub(" ", text)))
        return verdict

    def _judge_as_it_stands(self, text: str) -> int:
        if any(key in text and pattern.search(text) for key, pattern in self._spoiling.items()):
            return SPOILS
        if any(key in text and pattern.search(text) for key, pattern in self._setting.items()):
            return SETS
        # A semicolon inside a quoted value makes a part that no rule knows: one reset too many, never one too few.
        if not all(self._is_harmless(part) for part in text.split(";") if part.strip()):
            return SETS
        if any(key in text and pattern.search(text) for key, pattern in self._reading.items()):
            return READS
        return CLEAN

    def _is_harmless(self, text: str) -> bool:
        first = _FIRST_WORD.match(text)
        if first is None:
            return not text.strip()
        rule = self._harmless.get(first[1], _never)
        return rule is None or rule(text[first.start(1) :])


def _never(text: str) -> bool:
    return False


def harmless(*words: str) -> dict[str, Rule | None]:
    """First words that leave nothing whatever follows them."""
    return dict.fromkeys(words)


def unless(pattern: str) -> Rule:
    """Harmless when the text, from its first word, does not match the pattern."""
    compiled = re.compile(pattern)
    return lambda text: compiled.match(text) is None


def only_if(pattern: str) -> Rule:
    """Harmless when the text, from its first word, matches the pattern."""
    compiled = re.compile(pattern)
    return lambda text: compiled.match(text) is not None
