"""The map of the rooms in sparkify/__init__.py: all are on it, and each stands on lower floors."""

import ast
import re

import pytest
from scripts import PROJECT

import sparkify
from sparkify.cluster import ROOMS

PACKAGE = PROJECT / "sparkify"
NAMES = ({path.stem for path in PACKAGE.glob("*.py")} | {"questions"}) - {"__init__"}


def read_map():
    """Return the floor of each room, a number, by its name."""
    floors, number = {}, None
    for line in sparkify.__doc__.split("\n\n")[1].splitlines():
        mark, rooms = line[:9].strip(), re.sub(r"\(.*?\)|:.*", "", line[9:])
        number = int(mark or number)
        floors |= dict.fromkeys(re.findall(r"\w+", rooms), number)
    return floors


def list_imports(room):
    """Return the names of the modules that a room imports, those of this package as rooms."""
    path = PACKAGE / room / "__init__.py" if (PACKAGE / room).is_dir() else PACKAGE / f"{room}.py"
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "sparkify":
            found.update(f"sparkify.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def list_rooms_below(room):
    imported = {name.split(".")[1] for name in list_imports(room) if name.startswith("sparkify.")}
    return imported - {room}


def test_each_room_is_on_the_map():
    assert set(read_map()) == NAMES


@pytest.mark.parametrize("room", sorted(NAMES))
def test_a_room_imports_only_from_floors_below_its_own(room):
    floors = read_map()
    assert [name for name in list_rooms_below(room) if floors[name] >= floors[room]] == []
    assert not {"etl", "create_tables"} & list_imports(room)


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"__init__"}))
def test_what_workers_get_is_whole_and_knows_no_database(room):
    assert list_rooms_below(room) <= set(ROOMS)
    assert not {"psycopg2", "sql_queries"} & {name.split(".")[0] for name in list_imports(room)}


def test_the_map_imports_nothing():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert [type(node) for node in tree.body] == [ast.Expr]
