"""The folders of sparkify/: all modules are on the map, and imports point one way."""

import ast
import re

import pytest
from conftest import LONG
from scripts import PROJECT

import sparkify
from sparkify.read.cluster import SENT

PACKAGE = PROJECT / "sparkify"
MODULES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__init__"
}
# By folder, what of the project none of its modules imports.
FORBIDDEN = {
    "sparkify": ("etl", "create_tables"),  # but for __main__, which is a script
    "sparkify.read": (
        "sparkify.load",
        "sparkify.postgres",
        "sparkify.run",
        "sql_queries",
        "psycopg2",
    ),
    "sparkify.load": ("sparkify.run", "sparkify.analysis"),
    "sparkify.postgres": ("sparkify.load", "sparkify.run", "sparkify.analysis"),
}


def list_imports(path):
    """Return the names of what a module imports, wherever it does so, but for types alone."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node for node in tree.body if not ast.unparse(node).startswith("if TYPE_CHECKING:")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize(("folder", "forbidden"), FORBIDDEN.items())
def test_imports_point_one_way(folder, forbidden):
    for module, path in MODULES.items():
        if f"{module}.".startswith(f"{folder}.") and module != "sparkify.__main__":
            names = [f"{name}." for name in list_imports(path)]
            assert [n for n in names if n.startswith(tuple(f"{f}." for f in forbidden))] == [], (
                module
            )


def test_what_workers_get_imports_nothing_else_of_the_project():
    sent = {path for pattern in SENT for path in PACKAGE.glob(pattern)}
    names = {name: path for name, path in MODULES.items() if path in sent}
    for path in names.values():
        missing = (set(MODULES) - set(names)) & list_imports(path)
        assert missing <= {"sparkify.interpreter"}, path


def test_each_module_is_on_the_map_in_its_folder():
    found = re.findall(r"^(\w+)/ +(.*(?:\n +.*)*)", sparkify.__doc__, re.MULTILINE)
    folders = dict(found)
    for path in MODULES.values():
        folder = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        text = folders.get(folder, sparkify.__doc__.split("Beside the folders")[1])
        name = "questions" if path.parent.name == "questions" else path.stem
        assert re.search(rf"\b{name}\b", text), path
    assert set(folders) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_the_tests_that_are_said_to_take_longest_are_there():
    assert {*LONG} <= {path.name for path in PROJECT.glob("tests/*/test_*.py")}


def test_the_map_imports_nothing():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert [type(node) for node in tree.body] == [ast.Expr]
