"""What a statement leaves in its session, told from its text."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.db.adapters.base import Adapter
from django_wsgiperf.db.adapters.postgresql import PostgreSQLAdapter
from django_wsgiperf.db.adapters.sqlite import SQLiteAdapter
from django_wsgiperf.db.adapters.statements import CLEAN, READS, SETS, SPOILS, Statements
from tests._run import results

ADAPTERS: list[type[Adapter]] = [PostgreSQLAdapter, SQLiteAdapter]
if find_spec("MySQLdb"):
    from django_wsgiperf.db.adapters.mysql import MySQLAdapter

    ADAPTERS.append(MySQLAdapter)
else:
    results.note_untested("what MySQL's statements leave", "mysqlclient is not installed")

ORM = (
    'SELECT "shop_book"."id", "shop_book"."title" FROM "shop_book" WHERE "shop_book"."id" = %s LIMIT 21',
    'INSERT INTO "shop_order" ("email", "at") VALUES (%s, %s) RETURNING "shop_order"."id"',
    'UPDATE "shop_book" SET "temperature" = %s, "template" = %s WHERE "shop_book"."id" = %s',
    'DELETE FROM "shop_book" WHERE "shop_book"."id" IN (%s, %s)',
    "SAVEPOINT s1_x1",
    "RELEASE SAVEPOINT s1_x1",
    "ROLLBACK TO SAVEPOINT s1_x1",
    "(SELECT 1) UNION (SELECT 2)",
    "/* a comment */ -- another\n SELECT 1;",
    "WITH RECURSIVE t(n) AS (SELECT 1) SELECT n FROM t",
    "CREATE TABLE settings (name text)",
    "CREATE INDEX a ON b (c)",
    "",
    " ; ",
)
EVERYWHERE_SETS = (
    "SET x = 1",
    "CREATE TEMPORARY TABLE t (n int)",
    "SELECT 1; SET x = 1",
    "PREPARE p AS SELECT 1",
    "gibberish",
    "CREATE /* a comment */ TEMPORARY TABLE t (n int)",
    "SELECT '/*'; SET x = 1; SELECT '*/'",
    "SELECT '--'; SET x = 1",
)

TABLES: list[tuple[Statements, int, tuple[str, ...]]] = [
    *((adapter.statements, CLEAN, ORM) for adapter in ADAPTERS),
    *((adapter.statements, SETS, EVERYWHERE_SETS) for adapter in ADAPTERS),
    (
        PostgreSQLAdapter.statements,
        CLEAN,
        (
            "SET LOCAL statement_timeout = 5",
            "set transaction isolation level serializable",
            "SET CONSTRAINTS ALL IMMEDIATE",
            "SELECT set_config('app.tenant', %s, true)",
            "SELECT set_config('app.tenant', 'it''s (one)', true)",
            "SELECT pg_advisory_xact_lock(1)",
            "LOCK TABLE a IN SHARE MODE",
            "COPY a FROM STDIN",
        ),
    ),
    (
        PostgreSQLAdapter.statements,
        SETS,
        (
            "set search_path to tenant",
            "  SET\nTIME ZONE 'UTC'",
            "SET ROLE other",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "RESET ALL",
            "SELECT set_config('search_path', %s, false)",
            "SELECT set_config('a', 'b', true), set_config('c', 'd', false)",
            """SELECT "set_config"('a', 'b', false)""",
            "SELECT set_config /* a comment */ ('a', 'b', false)",
            "SELECT '/*', set_config('a', 'b', false), '*/'",
            """SELECT U&"set\\005fconfig"('a', 'b', false)""",
            "SELECT set_config('a', 'b, true)', false)",
            "SELECT set_config('a', E'b\\', true)', false)",
            "SELECT set_config('a', $$b, true)$$, false)",
            "SELECT set_config('a', 'b' /* , true) */, false)",
            "UPDATE pg_settings SET setting = '1' WHERE name = 'statement_timeout'",
            "SELECT pg_advisory_lock(1)",
            'SELECT "pg_advisory_lock"(1)',
            "SELECT pg_try_advisory_lock_shared(1)",
            "select * into temp t from a",
            "CREATE UNLOGGED TABLE pg_temp.t (n int)",
            "LISTEN news",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "DO $$ BEGIN PERFORM 1; END $$",
            "CALL change_things()",
            "WITH a AS (SELECT set_config('x.y', '1', false)) SELECT * FROM a",
            "INSERT INTO t SELECT pg_advisory_lock(n) FROM u",
        ),
    ),
    (PostgreSQLAdapter.statements, SPOILS, ("LOAD 'auto_explain'", "SELECT 1; /* a comment */ load 'auto_explain'")),
    (PostgreSQLAdapter.statements, READS, ("SELECT lastval()", "SELECT currval('shop_id_seq')")),
    (
        SQLiteAdapter.statements,
        CLEAN,
        (
            "BEGIN",
            "BEGIN IMMEDIATE",
            "PRAGMA foreign_keys",
            'PRAGMA table_info("shop_book")',
            "PRAGMA foreign_key_check",
        ),
    ),
    (
        SQLiteAdapter.statements,
        SETS,
        (
            "PRAGMA foreign_keys = OFF",
            "PRAGMA cache_size(100)",
            "ATTACH 'x' AS y",
            "CREATE TEMP TABLE t (n)",
            "CREATE TABLE temp.t (n)",
            'CREATE TABLE "temp".t (n)',
            "CREATE TABLE [temp] . t (n)",
            "SELECT load_extension('x')",
        ),
    ),
    (SQLiteAdapter.statements, READS, ("SELECT last_insert_rowid()", "SELECT changes()")),
]
if find_spec("MySQLdb"):
    TABLES += [
        (
            MySQLAdapter.statements,
            CLEAN,
            ("SELECT @@version", "SELECT 'a@b.example'", "LOAD DATA INFILE 'x' INTO TABLE t", "FLUSH TABLES"),
        ),
        (
            MySQLAdapter.statements,
            SETS,
            (
                "SET NAMES latin1",
                "SET @x = 1",
                "SELECT @x := 1",
                "SELECT id INTO @x FROM t",
                "USE other",
                "SELECT GET_LOCK('a', 1)",
                "SELECT GET_LOCK/**/('a', 1)",
                "SELECT GET_LOCK # a comment\n('a', 1)",
                "DO RELEASE_LOCK('a')",
                "FLUSH TABLES t WITH READ LOCK",
                "LOCK TABLES t WRITE",
                "BEGIN",
                "START TRANSACTION",
                "XA START 'x'",
                "BACKUP LOCK t",
                "BACKUP STAGE START",
                "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
                "CALL p()",
                "HANDLER t OPEN",
                "SELECT LAST_INSERT_ID(5)",
                "CREATE OR REPLACE TEMPORARY TABLE t (n int)",
                "SELECT 1 /*!40000 ; SET x = 1 */",
            ),
        ),
        (
            MySQLAdapter.statements,
            READS,
            (
                *("SELECT LAST_INSERT_ID()", "SELECT FOUND_ROWS()", "SELECT @x", "SHOW WARNINGS"),
                *("SELECT LASTVAL(s)", "SELECT PREVIOUS VALUE FOR s"),
            ),
        ),
        (
            MySQLAdapter.statements,
            SPOILS,
            ("SET ROLE clerk", "SET/**/ROLE NONE", "EXECUTE IMMEDIATE 'SET ROLE clerk'"),
        ),
    ]


@pytest.mark.parametrize(
    ("statements", "verdict", "sql"), [(rules, verdict, sql) for rules, verdict, table in TABLES for sql in table]
)
def test_verdict_of(statements: Statements, verdict: int, sql: str) -> None:
    assert statements.verdict(sql) == verdict
    assert statements.verdict(sql) == verdict, "remembered"


@given(before=st.text(" \n\t(", max_size=5), after=st.text("abcdefgh ;'()%1", max_size=30), upper=st.booleans())
def test_set_is_seen_wherever_it_stands(before: str, after: str, *, upper: bool) -> None:
    word = "SET" if upper else "set"
    for adapter in ADAPTERS:
        assert adapter.statements.verdict(f"{before}{word} abc = {after}") == SETS
        assert adapter.statements.verdict(f"SELECT 1;{before.replace('(', '')}{word} abc = {after}") == SETS


def test_what_is_remembered_has_a_bound() -> None:
    rules = Statements({"select": None}, {}, {})
    for number in range(5000):
        rules.verdict(f"SELECT {number}")
    assert len(rules.known) <= 1024
    rules.verdict("SELECT " + "x" * 10_000)
    assert max(map(len, rules.known)) < 5000
