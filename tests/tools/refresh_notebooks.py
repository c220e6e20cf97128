"""Run notebooks on the sample, on a server of their own, and save them as they are committed.

.venv/bin/python tests/tools/refresh_notebooks.py etl.ipynb test.ipynb
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

PROJECT = Path(__file__).resolve().parent.parent.parent
SHOWN = "/home/you/sparkify"  # in place of the project's folder


def refresh(name):
    """Run a notebook on tables that hold the sample, and save it."""
    for script in ("create_tables.py", "etl.py"):
        subprocess.run([sys.executable, script], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    notebook = nbformat.read(PROJECT / name, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        resources={"metadata": {"path": PROJECT}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
    ).execute()
    text = nbformat.writes(notebook).replace(str(PROJECT), SHOWN)
    (PROJECT / name).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    place = tempfile.TemporaryDirectory(prefix="sparkify-notebooks-", ignore_cleanup_errors=True)
    with place as folder:
        os.environ["SPARKIFY_PGDATA"] = str(Path(folder, "pg"))
        for name in sys.argv[1:]:
            refresh(name)
