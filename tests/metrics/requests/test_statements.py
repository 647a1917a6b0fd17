"""What of a statement is shown: no value that somebody wrote into it, on any database; and where it came from."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from django_wsgiperf.metrics import statements
from django_wsgiperf.metrics.statements import text_of


@pytest.mark.parametrize(
    ("vendor", "given", "shown"),
    [
        ("sqlite", "SELECT 1", "SELECT ?"),
        ("postgresql", 'SELECT "a"."b" FROM "a" WHERE n = %s LIMIT 21', 'SELECT "a"."b" FROM "a" WHERE n = %s LIMIT ?'),
        ("postgresql", "SELECT 'it''s secret', E'so \\' is this', x", "SELECT ?, ?, x"),
        ("postgresql", "SELECT 'ends with \\', 'secret'", "SELECT ?, ?"),
        ("postgresql", "SELECT $$secret$$, $tag$ se$$cret $tag$, $1", "SELECT ?, ?, $1"),
        ("postgresql", "SELECT $t1$secret$t1$, $größe_2$ $1 secret $größe_2$, $12", "SELECT ?, ?, $12"),
        ("postgresql", "SELECT x::text, %(name)s, 1.5e-3, 0x1F, t3.c4", "SELECT x::text, %(name)s, ?, ?, t3.c4"),
        ("postgresql", "SELECT 1 -- secret\nFROM t /* secret\nsecret */", "SELECT ? FROM t"),
        ("postgresql", "SELECT a /* b /* c */ secret /* */ * / secret */ FROM t", "SELECT a FROM t"),
        ("postgresql", "SELECT a /* b /* c /* d */ secret */ secret */, b /**/ /* secret", "SELECT a , b"),
        ("postgresql", "SELECT a[1:4711], JSON_OBJECT('pin':4711), :name", "SELECT a[?:?], JSON_OBJECT(?:?), :name"),
        ("sqlite", "SELECT a /* b /* c */ FROM t", "SELECT a FROM t"),
        ("postgresql", "SELECT 'never closed secret", "SELECT ?"),
        ("postgresql", "SELECT B'101', U&'x', \"Odd 'name'\"", "SELECT ?, U&?, \"Odd 'name'\""),
        ("postgresql", "SELECT a FROM t WHERE b > .25 AND c = d.e", "SELECT a FROM t WHERE b > ? AND c = d.e"),
        ("mysql", "SELECT `a`.`b` FROM `a` WHERE c = 'it\\'s secret'", "SELECT `a`.`b` FROM `a` WHERE c = ?"),
        ("mysql", 'SELECT "secret", "a ""b"" c" # secret', "SELECT ?, ?"),
        ("mysql", "SELECT 1 -- secret", "SELECT ?"),
        ("mysql", "SELECT 1--1, @row, `odd ``name`", "SELECT ?--?, @row, `odd ``name`"),
    ],
)  # fmt: skip
def test_values_are_taken_out(vendor: str, given: str, shown: str) -> None:
    assert text_of(given, vendor) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        # SQLite takes these for strings, as there are no columns of such names.
        ('SELECT 1 WHERE a = "secret" OR b IN ("secret", "sec""ret")', "SELECT ? WHERE a = ? OR b IN (?, ?)"),
        ('SELECT "secret" FROM "t" JOIN "u" AS "v" ON "v"."x" = u."y"',
         'SELECT ? FROM "t" JOIN "u" AS "v" ON "v"."x" = u."y"'),
        ('SELECT 1 WHERE a IS DISTINCT FROM "secret"', "SELECT ? WHERE a IS DISTINCT FROM ?"),
        ('SELECT a = "secret 1.5', "SELECT a = ?"),
        ('SELECT "", \'"\', "\'", "secret"', "SELECT ?, ?, ?, ?"),
        # What Django writes about its models has their names.
        (
            'INSERT INTO "auth_user" ("username", "password") VALUES (%s, %s) RETURNING "auth_user"."id"',
            'INSERT INTO "auth_user" ("username", "password") VALUES (%s, %s) RETURNING "auth_user"."id"',
        ),
        (
            'UPDATE "auth_user" SET "username" = "secret", "password" = %s',
            'UPDATE "auth_user" SET "username" = ?, "password" = %s',
        ),
    ],
)  # fmt: skip
def test_string_in_double_quotes_is_not_taken_for_a_name_on_sqlite(given: str, shown: str) -> None:
    assert text_of(given, "sqlite") == shown


def test_what_the_orm_writes_on_sqlite_keeps_its_names() -> None:
    from django.contrib.auth.models import User
    from django.db.models import Count

    users = User.objects.filter(groups__name="secret").annotate(many=Count("groups")).order_by("username")
    text = text_of(str(users.query), "sqlite")
    assert text.startswith('SELECT "auth_user"."id", "auth_user"."password"')
    assert 'COUNT("auth_user_groups"."group_id") AS "many" FROM "auth_user"' in text
    assert "?" not in text.replace("= ?", "").replace("secret", "")


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql", "mysql"])
@given(text=st.text(st.characters(exclude_characters="\0")), number=st.integers(0))
def test_whatever_a_string_says_it_is_not_shown(vendor: str, text: str, number: int) -> None:
    quoted = text.replace("'", "''")
    if vendor == "mysql":
        quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    shown = statements.without_values(f"SELECT '{quoted}' AS a, {number} AS b FROM t WHERE c = %s", vendor)
    assert shown == "SELECT ? AS a, ? AS b FROM t WHERE c = %s"


@pytest.mark.parametrize("vendor", ["sqlite", "mysql"])
@given(st.text())
def test_any_text_gives_a_bounded_one(vendor: str, given: str) -> None:
    assert len(text_of(given, vendor)) <= statements.MAX_TEXT


def test_statements_that_differ_in_values_alone_are_one() -> None:
    assert len({text_of(f"SELECT * FROM t WHERE id = {number}", "sqlite") for number in range(10)}) == 1


def test_long_ones_are_cut_off() -> None:
    text = text_of("INSERT INTO t VALUES " + "(%s), " * 10_000 + "'secret'", "sqlite")
    assert len(text) <= statements.MAX_TEXT
    assert text.endswith(" …")


def test_memory_of_them_is_bounded() -> None:
    for number in range(3 * statements.MAX_KNOWN):
        text_of(f"SELECT a{number}", "sqlite")
    assert len(statements.known_texts("sqlite")) <= statements.MAX_KNOWN


def test_kinds_of_statements_that_are_no_strings() -> None:
    composed = sql.SQL("SELECT {} FROM {} WHERE a = {} AND b = {}").format(
        sql.Identifier("t", "c"), sql.Identifier("t"), sql.Literal("secret"), sql.Placeholder()
    )
    assert text_of(composed, "postgresql") == 'SELECT "t"."c" FROM "t" WHERE a = ? AND b = %s'
    assert text_of(b"SELECT 'secret'", "sqlite") == "SELECT ?"

    class Text(str):
        __slots__ = ()

    assert text_of(Text("SELECT 5"), "sqlite") == "SELECT ?"
    assert text_of(object(), "sqlite") == "(object)"


class TestCallSite:
    def test_is_the_projects_code(self) -> None:
        site = statements.call_site()
        assert site.startswith("tests/metrics/requests/test_statements.py:")
        assert site.endswith(" in TestCallSite.test_is_the_projects_code")

    def test_is_a_librarys_where_there_is_nothing_else(self) -> None:
        assert statements.call_site(self.frame_in("/usr/lib/site-packages/library/code.py")).startswith(
            "/usr/lib/site-packages/library/code.py:1 in "
        )

    def test_is_nothing_where_only_django_is_at_work(self) -> None:
        assert statements.call_site(self.frame_in(statements._DJANGO + "db/models/query.py")) == ""

    def test_of_many_it_is_the_innermost(self) -> None:
        def inner() -> str:
            return statements.call_site()

        assert inner().endswith("<locals>.inner")

    def frame_in(self, file: str) -> Any:
        """A frame of that file alone."""
        kept: list[Any] = []
        exec(compile("keep(frame())", file, "exec"), {"keep": kept.append, "frame": lambda: sys._getframe(1)})
        return _Alone(kept[0])


class _Alone:
    """A frame that nobody called."""

    f_back = None

    def __init__(self, frame: Any) -> None:
        self.f_code = frame.f_code
        self.f_lineno = 1
