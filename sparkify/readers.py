"""Who reads the files: this process, threads beside COPY, or the workers of a cluster."""

import functools
import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pyarrow

from sparkify.blocks import read_blocks
from sparkify.files import LocalStorage

READERS = 2  # threads that read and transform beside COPY


@contextmanager
def open_reader(storage=None, threads=False, scheduler=None):
    """Yield a function that reads some files as read_blocks does.

    They are read here, by threads, or by the cluster at an address. Raises LoadError where the
    cluster can't be used.
    """

    def read(files, target=None, catalogue=None, executor=None, ahead=0):
        return read_blocks(files, storage, target, catalogue, executor, ahead)

    with closing(storage or LocalStorage()):  # whoever stops loading doesn't wait for what is read
        if scheduler:
            from sparkify import cluster  # Dask, for clusters alone

            with cluster.connect(scheduler) as executor:
                yield functools.partial(cluster.read, executor, read)
        elif threads:
            executor = ThreadPoolExecutor(READERS)
            try:
                yield functools.partial(read, executor=executor, ahead=READERS + 1)
            finally:
                executor.shutdown(wait=False, cancel_futures=True)
        else:
            yield read


def spare_memory():
    """Search no garbage among the libraries, which stay; let what is free go to the system."""
    gc.freeze()
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
