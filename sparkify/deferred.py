"""The rooms that stand on pandas and pyarrow, each imported when it is first asked for.

To import them takes longer than a run with nothing new takes in all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparkify import blocks, bulk, readers

__all__ = ["blocks", "bulk", "readers"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(name)
    return import_module(f"sparkify.{name}")
