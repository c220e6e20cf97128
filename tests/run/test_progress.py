"""What is shown while files are loaded: the phase, its steps, the time, the share that is over."""

import io
import os
import subprocess
import sys

import pytest
from records import event, write_lines
from scripts import PROJECT, environment_of

import etl
from sparkify.read.blocks import Block, Outcome
from sparkify.read.files import File
from sparkify.run import progress

LOADING = ["loading songs", "loading logs"]
KEYS = [f"building keys {step}/18" for step in range(1, 19)]
MERGING = ["storing users", "comparing plays", "storing plays", "storing page views"]


@pytest.fixture
def seen(monkeypatch):
    """What loads tell of their phases: each with the share of the time that is over by then."""
    found = []

    class Witness(progress.Progress):
        def tell(self, text, name=None):
            super().tell(text, name)
            found.append((text, self.share))

    monkeypatch.setattr(etl, "Progress", Witness)
    return found


def test_a_load_tells_its_phases_and_is_never_done_before_the_end(night, data, seen):
    new = ["storing users", "storing new plays", "storing page views"]
    for number, (arguments, expected) in enumerate(
        (
            (["--load", "copy"], [*LOADING, "storing users", *KEYS, "counting rows"]),
            (["--load", "copy", "--all"], [*LOADING, *MERGING, "counting rows"]),
            (["--load", "copy"], ["loading logs", *new, "counting rows"]),
            (["--load", "rows", "--all"], [*LOADING, "counting rows"]),
        )
    ):
        write_lines(data / "log_data" / "latest.json", [event(ts=10**12 + number // 2)])
        assert night(data, *arguments)[0] == 0
        phases, shares = zip(*seen, strict=True)
        assert list(phases) == expected
        assert (shares[0], shares[-1] < 1) == (0, True)
        assert list(shares) == sorted(set(shares))
        seen.clear()


def test_a_retry_tells_how_far_it_is_as_well(night, data, rejects, seen):
    seen.clear()
    assert night("--retry", rejects)[0] == 3
    assert [text for text, _ in seen] == LOADING
    assert 0 == seen[0][1] < seen[1][1] < 1


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand: a list of one number."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_line_says_phase_time_and_share(clock):
    file = File("log", "a.json", 192_000)
    shown = progress.Progress([file, file])
    blocks = shown.watch([Block([], [Outcome(file, records=400)], 400)] * 2)
    next(blocks)
    assert shown.describe() == "loading logs        0:00   0%"
    clock[0] += 10
    shown.move(200)
    shown.move(200)
    assert shown.describe() == "loading logs        0:10 of ~0:20  50%"
    clock[0] += 12
    assert shown.describe() == "loading logs        0:22 of ~0:22  50%"
    assert list(blocks) == [Block([], [Outcome(file, records=400)], 400)]
    shown.phase(progress.COUNTING)
    assert shown.describe() == "counting rows       0:22 of ~0:22  99%"
    shown.phase("a phase that no plan has", 2, 3)
    assert shown.describe().startswith("a phase that no plan has 2/3 0:22")


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


def test_a_terminal_sees_a_line_that_goes_at_the_end(night, data, loader, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", Terminal(written, "utf-8", write_through=True))
    assert night(data, "--load", loader)[0] == 0
    *drawn, last, end = written.getvalue().decode().split("\r")
    assert any(text.startswith("loading") for text in drawn)
    assert (last.strip(), end) == ("", "")


def test_without_a_terminal_a_long_load_says_each_phase_once(night, data, monkeypatch):
    monkeypatch.setattr(progress, "TELL_SECONDS", -1)
    _, output, errors = night(data, "--load", "copy")
    phases = [line.partition(",")[0] for line in output.splitlines() if ", after 0:0" in line]
    assert phases == [*LOADING, "storing users", "building keys", "counting rows"]
    assert errors == []


LOAD_TWICE = """
import multiprocessing, sys
import psutil
multiprocessing.set_start_method("forkserver")  # as by default from Python 3.14 on
import etl
for loader in ("rows", "copy"):
    assert etl.main(["--all", "--load", loader, sys.argv[-1]]) == 0
print([child.cmdline() for child in psutil.Process().children()], file=sys.stderr)
"""


def test_no_other_process_runs_beside_a_load(conn, data):
    result = subprocess.run(
        [sys.executable, "-c", LOAD_TWICE, data],
        cwd=PROJECT,
        env=environment_of(SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"]),
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "[]\n")
