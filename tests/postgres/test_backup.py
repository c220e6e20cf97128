"""Backup and restore: which of Postgres's programs are run, and that a restore can't hurt."""

import contextlib
import os
import re
import shlex
import tempfile
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from records import load_data
from scripts import PASSWORD, PROJECT, run, thorough
from servers import connect_until_ready, free_port, running_server

import create_tables
from sparkify.errors import ServerError
from sparkify.postgres import connection, psql
from sql_queries import table_names

OPERATIONS = (PROJECT / "docs/operations.md").read_text(encoding="utf-8")
[BACKUP] = re.findall(r"^\.venv/bin/python -m sparkify (pg_dump .*)$", OPERATIONS, re.MULTILINE)
[RESTORE] = re.findall(r"^\.venv/bin/python -m sparkify (pg_restore .*)$", OPERATIONS, re.MULTILINE)

definitions_select = """
SELECT conname::text, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT viewname::text, definition FROM pg_views WHERE schemaname = 'public'
ORDER BY 1, 2
"""
damage = """
DELETE FROM songplays WHERE songplay_id % 2 = 0;
UPDATE users SET level = 'free';
INSERT INTO page_views (start_time, session_id, page) VALUES (now(), 1, 'Home');
DROP VIEW listening;
"""


# Which program


@pytest.mark.parametrize(
    ("tool", "version", "versions", "chosen"),
    [
        ("psql", 16, [15, 16, 18], 16),
        ("psql", 15, [16, 18], 16),
        ("psql", 16, [15, 17, 18], 17),
        ("psql", 19, [15, 16, 18], 18),
        ("pg_dump", 15, [15, 16, 18], 15),
        ("pg_dump", 15, [14, 16, 18], 16),
        ("pg_dump", 15, [18], None),
        ("pg_dump", 16, [15, 18], None),
        ("pg_dump", 17, [15, 16, 18], 18),
        ("pg_dump", 18, [15, 16, 18], 18),
        ("pg_dump", 18, [16, 19], 19),
        ("pg_dump", 19, [15, 16, 18], None),
        ("pg_restore", 15, [14, 16, 18], 16),
        ("pg_restore", 16, [15, 18], 15),
        ("pg_restore", 16, [18], None),
        ("pg_restore", 17, [16, 18], 18),
        ("pg_restore", 19, [15, 16, 18], 18),
    ],
)
def test_the_version_that_suits_a_server(tool, version, versions, chosen):
    assert psql.choose_version(tool, version, versions) == chosen


def make_program(folder, version):
    """Make a pg_dump for the PATH that only says which version it is."""
    program = folder / "pg_dump"
    program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    program.chmod(0o755)
    return {"PATH": folder}


unix_only = pytest.mark.skipif(os.name == "nt", reason="the program on PATH is a shell script")


@pytest.mark.parametrize("tool", ["psql", "pg_dump", "pg_restore"])
def test_a_program_shows_its_help_and_version_without_a_server(tool):
    for option, words in (("--help", "--dbname"), ("--version", "(PostgreSQL)")):
        result = run("sparkify", tool, option, PGHOST="no-such-host.invalid")
        assert (result.stderr, result.returncode) == ("", 0)
        assert result.stdout.startswith(tool) and words in result.stdout


@unix_only
def test_the_program_on_path_is_run_if_it_is_of_the_servers_version(tcp, tmp_path):
    result = run("sparkify", "pg_dump", **tcp | make_program(tmp_path, "16.99 (Debian)"))
    assert result.stdout == "pg_dump (PostgreSQL) 16.99 (Debian)\n"


@unix_only
@pytest.mark.parametrize("version", ["15.3", "17.1", "18devel", "nonsense"])
def test_a_bundled_program_is_run_if_the_one_on_path_does_not_suit(tcp, tmp_path, version):
    result = run("sparkify", "pg_dump", **tcp | make_program(tmp_path, version))
    assert (result.stderr, result.returncode) == ("", 0)
    assert "-- Dumped by pg_dump version 16." in result.stdout


def test_the_embedded_server_is_dumped_by_its_own_program(conn, tmp_path):
    result = run("sparkify", "pg_dump", **embedded_server() | make_program(tmp_path, "18.1"))
    assert "-- Dumped by pg_dump version 18." in result.stdout


def test_where_no_program_suits_one_line_says_which_would(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.invalid/")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError) as caught:
        psql.find_program("pg_dump", 19)
    assert "db.invalid" in str(caught.value)
    assert "is PostgreSQL 19" in str(caught.value)
    assert "no pg_dump of version 16, 18 will do; install pg_dump 19" in str(caught.value)
    monkeypatch.setattr(psql, "bundled_programs", lambda tool: {})
    with pytest.raises(ServerError, match="there is no pg_dump; install it"):
        psql.find_newest("pg_dump")


# Backup and restore


@pytest.fixture(scope="module")
def tcp(server):
    """The PG* variables of a PostgreSQL 16 over TCP."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="sparkify-tcp-") as folder,
        running_server(Path(folder), port),
    ):
        variables = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "admin"}
        variables["PGPASSWORD"] = PASSWORD
        connect_until_ready(dsn(variables) + " dbname=postgres").close()
        assert run("create_tables.py", **variables).returncode == 0
        yield variables


def dsn(variables):
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
    return " ".join(f"{names[name]}='{value}'" for name, value in variables.items())


def embedded_server():
    return {"SPARKIFY_PGDATA": os.environ["SPARKIFY_PGDATA"]}


@pytest.fixture(params=["embedded 18", "16 over TCP, nothing on PATH", thorough("16 over TCP")])
def tables(request, tcp):
    """A connection to tables that hold the sample, and the variables that lead scripts to them."""
    if request.param == "embedded 18":
        conn, variables = connection.connect(), embedded_server()
    else:
        conn, variables = psycopg2.connect(dsn(tcp) + " dbname=sparkifydb"), tcp
        if "nothing" in request.param:
            variables = tcp | {"PATH": "/nowhere"}
    with contextlib.closing(conn):
        create_tables.reset_tables(conn.cursor(), conn)
        load_data(conn.cursor(), conn)
        conn.commit()
        yield conn, variables


def read_everything(conn):
    """Return all rows of all tables with their generated ids, and the definitions."""
    everything = {}
    with conn, conn.cursor() as cur:
        for name in table_names:
            cur.execute(sql.SQL("SELECT * FROM {} ORDER BY 1").format(sql.Identifier(name)))
            everything[name] = cur.fetchall()
        cur.execute(definitions_select)
        return everything | {"definitions": cur.fetchall()}


def run_recipe(command, file, variables):
    """Run a command as it stands in docs/operations.md, but on another file."""
    words = shlex.split(command.replace("sparkify.dump", shlex.quote(str(file))))
    return run("sparkify", *words, **variables)


def back_up(folder, variables):
    """Write a backup as docs/operations.md does, and return its file."""
    file = folder / "sparkify backup.dump"
    result = run_recipe(BACKUP, file, variables)
    assert (result.stderr, result.returncode) == ("", 0)
    return file


def damage_tables(conn):
    with conn, conn.cursor() as cur:
        cur.execute(damage)


def test_a_restore_into_filled_tables_brings_the_backup_back(tables, tmp_path):
    conn, variables = tables
    before = read_everything(conn)
    file = back_up(tmp_path, variables)
    damage_tables(conn)
    assert read_everything(conn) != before
    result = run_recipe(RESTORE, file, variables)
    assert (result.stderr, result.returncode) == ("", 0)
    assert read_everything(conn) == before
    assert len(before["songplays"]) == 6645
    assert "Nothing new" in run("etl.py", **variables).stdout


def test_a_restore_that_fails_half_way_leaves_the_tables_as_they_were(tables, tmp_path):
    conn, variables = tables
    file = back_up(tmp_path, variables)
    os.truncate(file, file.stat().st_size - 1000)
    damage_tables(conn)
    before = read_everything(conn)
    result = run_recipe(RESTORE, file, variables)
    assert result.returncode == 1
    assert "could not read" in result.stderr
    assert read_everything(conn) == before


def test_a_backup_can_be_restored_where_its_roles_are_unknown(conn, tmp_path):
    """Tables of another owner, that a role may read: both are unknown to the other server."""
    with conn, conn.cursor() as cur:
        cur.execute("CREATE ROLE stranger; GRANT SELECT ON users TO stranger")
        cur.execute("ALTER TABLE users OWNER TO stranger")
        cur.execute("INSERT INTO users VALUES (1, 'Ada', 'Reyes', 'F', 'free')")
    try:
        file = back_up(tmp_path, embedded_server())
    finally:
        with conn, conn.cursor() as cur:
            cur.execute("REASSIGN OWNED BY stranger TO postgres; DROP OWNED BY stranger")
            cur.execute("DROP ROLE stranger")
    with conn, conn.cursor() as cur:
        cur.execute("DELETE FROM users")
    result = run_recipe(RESTORE, file, embedded_server())
    assert (result.stderr, result.returncode) == ("", 0)
    with conn, conn.cursor() as cur:
        cur.execute("SELECT first_name FROM users")
        assert cur.fetchall() == [("Ada",)]
