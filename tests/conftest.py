"""Every test runs on a PostgreSQL of its own: an embedded one in a temporary folder.

Whatever server the environment names is forgotten before anything can connect to it.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

PROJECT = Path(__file__).resolve().parent.parent
EXAMPLES = 30  # that Hypothesis tries of each property
LONG = [  # the files that take longest begin first, lest one of them runs when all else has ended
    "test_killed.py",
    "test_connection.py",
    "test_cluster.py",
    "test_html_report.py",
    "test_object_store.py",
    "test_fuzz.py",
    "test_by_copy.py",
    "test_serve.py",
    "test_locks.py",
    "test_backup.py",
    "test_interrupts.py",
    "test_callers.py",
    "test_embedded.py",
]
sys.path.insert(0, str(PROJECT))
for name in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
    del os.environ[name]
# A short path: a socket's name has room for about 100 characters.
SERVER_FOLDER = Path(tempfile.mkdtemp(prefix="sparkify-test-"))
os.environ["SPARKIFY_PGDATA"] = str(SERVER_FOLDER / "pg")
# What a shell runs in the background ignores Ctrl-C; the scripts that the tests interrupt must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

# To import it takes longer than all that nbformat imports besides, which can do without.
sys.modules["rfc3987_syntax"] = None

pytest_plugins = ["nights", "remote"]  # their fixtures
pytest.register_assert_rewrite("notebooks", "scripts", "servers")  # to say what differs

import scripts
from records import copy_database, load_data

import create_tables
from sparkify.data_dictionary import comment_queries
from sparkify.postgres import embedded
from sparkify.postgres.connection import connect
from sql_queries import create_table_queries, drop_table_queries


def pytest_addoption(parser):
    parser.addoption(
        "--times",
        type=int,
        default=1,
        metavar="N",
        help="try N times as many kills, fuzzed files and orders to load in (default: 1); from 2 "
        "on, also the cases that are much like others, and more scripts as programs of their own",
    )


def pytest_configure(config):
    """Have Hypothesis try the same examples each time or, if it is to try more, other ones."""
    times = config.getoption("times")
    settings.register_profile(
        "sparkify",
        max_examples=EXAMPLES * times,
        derandomize=times == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("sparkify")
    scripts.always_start = times > 1
    config.option.loadscopereorder = False  # xdist would begin with the files of most tests
    config.addinivalue_line("markers", "thorough: much like other cases, for --times 2 or more")


def pytest_collection_modifyitems(config, items):
    """Leave out what is much like other cases, unless more is to be tried; put long files first."""
    if config.getoption("times") == 1:
        alike = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=alike)
        items[:] = [item for item in items if item not in alike]
    sizes = Counter(item.path for item in items)
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: (places.get(item.path.name, len(LONG)), -sizes[item.path]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Have one more process than there are cores: in most of them a test waits now and then."""
    return (os.cpu_count() or 1) + 1


def pytest_unconfigure():
    shutil.rmtree(SERVER_FOLDER, ignore_errors=True)  # also where no test needed a server


@pytest.fixture(scope="session", autouse=True)
def server():
    """The tests' own server, which stops and goes with them."""
    cur, conn = create_tables.create_database()
    conn.autocommit = True
    cur.execute("ALTER SYSTEM SET fsync = off")  # nothing here must outlast the machine
    cur.execute("SELECT pg_reload_conf()")
    conn.close()
    yield
    embedded.end_use(embedded.data_folder())


@pytest.fixture(scope="session")
def loaded(server):
    """The name of a database that holds the sample, to be copied."""
    cur, conn = create_tables.create_database()
    with contextlib.closing(conn):
        load_data(cur, conn)
        cur.execute("INSERT INTO load_runs VALUES ('2f4a6c8e', now(), 0, 130, 8100, 0, 1)")
        conn.commit()
    copy_database(connect("postgres"), "sparkifydb", "sample")
    return "sample"


@pytest.fixture(scope="module")
def sample(loaded):
    """A connection to tables that hold the sample, which the tests of a file share."""
    copy_database(connect("postgres"), loaded, "sparkifydb")
    _, conn = create_tables.create_database()
    with contextlib.closing(conn):
        yield conn


@pytest.fixture
def conn():
    """A connection to tables that are new: create_tables.py's statements, sent all at once."""
    cur, conn = create_tables.create_database()
    with contextlib.closing(conn):
        create_tables.set_time_zone(cur, conn)
        cur.execute(";".join([*drop_table_queries, *create_table_queries, *comment_queries]))
        conn.commit()
        yield conn


@pytest.fixture
def cur(conn):
    return conn.cursor()
