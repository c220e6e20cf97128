"""Who reads the files: this process, threads beside COPY, or the workers of a cluster."""

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow

from sparkify.blocks import read_blocks

READERS = 2  # threads that read and transform beside COPY


@contextmanager
def open_blocks(files, storage, encode, scheduler=None):
    """Yield the Blocks of Files, read by the cluster at an address or, encoded, by threads.

    Raises LoadError where the cluster can't be used.
    """
    spare_memory()
    if scheduler:
        from sparkify import cluster  # Dask, for clusters alone

        with cluster.connect(scheduler) as (executor, threads):
            blocks = read_blocks(files, storage, encode, executor, ahead=2 * threads)
            yield cluster.watch(blocks, scheduler)
    elif encode:
        with ThreadPoolExecutor(READERS) as executor:
            yield read_blocks(files, storage, encode, executor, ahead=READERS + 1)
    else:
        yield read_blocks(files, storage)


def spare_memory():
    """Search no garbage among the libraries, which stay; let what is free go to the system."""
    gc.freeze()
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
