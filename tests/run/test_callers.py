"""The scripts called by other programs: notebooks, threads, tasks, tests."""

import gc
import signal
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellExecutionError
from notebooks import opened, printed
from scripts import PROJECT, thorough

import create_tables
import etl
from sparkify import __main__


class Stream:
    """What a task of an orchestrator may have for stdout: it has a write, and nothing else."""

    encoding = "ascii"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text.encode("ascii").decode()


def state_of_process():
    signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
    hooks = sys.excepthook, sys.unraisablehook, sys.stdout, sys.stderr, tuple(sys.argv)
    return signals, signal.set_wakeup_fd(-1), hooks, gc.get_freeze_count()


def call_all(data):
    """Call each script twice, and wrongly; return the statuses."""
    return [
        create_tables.main(["--what"]),
        create_tables.main(argv=None),
        __main__.main(argv=["check"]),
        etl.main([str(data), "--what"]),
        etl.main(argv=[str(data)], log=None),
        etl.main([str(data), "--all", "--load", "copy"]),
        etl.main([str(data / "é")]),
        etl.main(["--help"]),
        __main__.main(),
        __main__.main(["check"]),
        __main__.main(["ask", "1"]),
        __main__.main(["ask", "1", "--json"]),
        __main__.main(["ask", "no such thing"]),
        create_tables.main(),
    ]


STATUSES = [2, 0, 1, 2, 0, 0, 2, 0, 2, 0, 0, 0, 2, 0]


@pytest.mark.parametrize(("make_stream", "in_thread"), [(Stream, True), (lambda: None, False)])
def test_a_program_calls_the_scripts(conn, data, tmp_path, monkeypatch, make_stream, in_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["airflow", "--of", "the program"])
    output, errors, statuses = make_stream(), make_stream(), []
    with redirect_stdout(output), redirect_stderr(errors):
        before = state_of_process()
        if in_thread:
            thread = threading.Thread(target=lambda: statuses.extend(call_all(data)))
            thread.start()
            thread.join()
        else:
            statuses = call_all(data)
        assert state_of_process() == before
    assert statuses == STATUSES
    if output:
        assert f"Loading {data} into sparkifydb" in output.text
        assert "etl.py: there is no folder" in errors.text and r"\xe9" in errors.text
        assert "Traceback" not in errors.text


def cells(*sources):
    return list(map(nbformat.v4.new_code_cell, sources))


IMPORTS = "import sys, signal\nhandlers = [signal.getsignal(2), signal.getsignal(15)]\n{}"
INTERRUPTED = "import os, time\nos.kill(os.getpid(), 2)\ntime.sleep(60)"
UNCHANGED = "print(handlers == [signal.getsignal(2), signal.getsignal(15)])"
TWICE = "import create_tables, etl\nfor _ in range(2):\n    print(create_tables.main(), etl.main())"


@pytest.mark.parametrize("how", ["%run create_tables.py\n%run etl.py data\n%run etl.py", TWICE])
def test_a_notebook_calls_the_scripts_and_can_be_interrupted(conn, how):
    with opened() as run_cells:
        first, last = run_cells(cells(IMPORTS.format(how), UNCHANGED))
        assert "Done in" in printed([first]) and "Traceback" not in printed([first])
        assert printed([last]) == "True\n"
        with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
            run_cells(cells(INTERRUPTED))


@pytest.mark.parametrize("name", ["etl.ipynb", thorough("test.ipynb")])
def test_a_notebook_in_another_folder_says_where_it_belongs(tmp_path, name):
    with pytest.raises(papermill.PapermillExecutionError) as error:
        papermill.execute_notebook(
            PROJECT / name, tmp_path / name, cwd=tmp_path, progress_bar=False
        )
    assert f"{tmp_path} is not the project's folder, which has etl.py" in str(error.value)
