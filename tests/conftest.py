"""Every test runs on a PostgreSQL of its own: an embedded one in a temporary folder.

Whatever server the environment names is forgotten before anything can connect to it.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
for name in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
    del os.environ[name]
# A short path: a socket's name has room for about 100 characters.
SERVER_FOLDER = Path(tempfile.mkdtemp(prefix="sparkify-test-"))
os.environ["SPARKIFY_PGDATA"] = str(SERVER_FOLDER / "pg")
# What a shell runs in the background ignores Ctrl-C; the scripts that the tests interrupt must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["nights", "remote"]  # their fixtures

import create_tables  # noqa: E402
from sparkify import embedded  # noqa: E402


def pytest_addoption(parser):
    parser.addoption(
        "--kills", type=int, default=4, help="how many moments test_killed.py tries (default: 4)"
    )


@pytest.fixture(scope="session", autouse=True)
def server():
    """The tests' own server, which stops and goes with them."""
    cur, conn = create_tables.create_database()
    conn.close()
    yield
    embedded.import_pgserver().get_server(SERVER_FOLDER / "pg").cleanup()
    shutil.rmtree(SERVER_FOLDER)


@pytest.fixture
def conn():
    """A connection to freshly created tables."""
    cur, conn = create_tables.create_database()
    with contextlib.closing(conn):
        create_tables.reset_tables(cur, conn)
        yield conn


@pytest.fixture
def cur(conn):
    return conn.cursor()
