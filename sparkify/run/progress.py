"""Progress: which phase a load is in, how far it is and how long it takes, told while it goes on.

On a terminal that is a line that is drawn anew four times a second; elsewhere, a line for each
phase of a load that takes long. What a run says before and after it loads, report says.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from tqdm import tqdm

from sparkify.messages import is_terminal
from sparkify.read.files import File

if TYPE_CHECKING:  # it stands on pandas
    from sparkify.read.blocks import Block

DRAW_SECONDS = 0.25
TELL_SECONDS = 60  # before phases are told where there is no terminal
HASTE_SECONDS = 2  # within which there is no telling how long a load will take
FILE_BYTES = 8000  # that are loaded in the time it takes to open a file and to note it as loaded
COUNTING = "counting rows"
ROWS_PLAN = {COUNTING: 0.99}

# tqdm's own lock is for several processes, too: from Python 3.14 on one more would run for it.
tqdm.set_lock(threading.RLock())


class Progress:
    """How far a load of Files is: the loader tells it; within a `with` block, a thread draws it.

    `plan` has, for each phase after the loading of lines, the share of the run's time that is over,
    roughly, when it begins. `say` prints a line for people who have no terminal.
    """

    def __init__(self, files: Iterable[File] = (), say: Callable | None = None):
        self.size, self.say = sum(map(weigh, files)), say
        self.plan, self.loaded, self.line_size = ROWS_PLAN, 0.0, 0.0
        self.name, self.share = "loading", 0.0
        self.said: set[str] = set()
        self.started = self.moved = time.monotonic()
        self.ended, self.bar = threading.Event(), None

    def __enter__(self):
        self.bar = tqdm(
            total=1,
            disable=not is_terminal(sys.stderr),
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc}{bar}",
        )
        if not self.bar.disable:
            self.drawing = threading.Thread(target=self.draw, daemon=True)
            self.drawing.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        if not self.bar.disable:
            self.drawing.join()
        self.bar.close()

    def watch(self, blocks: Iterable["Block"]) -> Iterator["Block"]:
        """Yield Blocks, each of which is loaded before the next one is asked for."""
        for block in blocks:
            files = [outcome.file for outcome in block.outcomes]
            size, loaded = sum(map(weigh, files)), self.loaded
            self.line_size = size / max(1, sum(outcome.records for outcome in block.outcomes))
            self.tell(f"loading {files[0].kind}s")
            yield block
            self.loaded = loaded + size
            self.move(0)

    def start_over(self) -> None:
        self.loaded = 0

    def move(self, lines: float) -> None:
        """Take note that so many more lines of the Block are loaded."""
        self.loaded += lines * self.line_size
        self.reach(min(self.plan.values()) * self.loaded / max(1, self.size))

    def phase(self, name: str, step: int = 1, steps: int = 1) -> None:
        """Take note that a phase of the plan, or one of its steps, begins."""
        begin = self.plan.get(name, self.share)
        end = min((share for share in self.plan.values() if share > begin), default=1)
        self.reach(begin + (end - begin) * (step - 1) / steps)
        self.tell(f"{name} {step}/{steps}" if steps > 1 else name, name)

    def reach(self, share):
        self.share, self.moved = max(self.share, share), time.monotonic()

    def tell(self, text, name=None):
        """Note what is being done; tell it, once, who has no terminal and waits for long."""
        self.name, name = text, name or text
        waited = time.monotonic() - self.started
        if self.bar and self.bar.disable and waited > TELL_SECONDS and name not in self.said:
            self.said.add(name)
            self.say(f"{name}, after {format_time(waited)}")

    def draw(self):
        """Draw the line till the end, the time ticking."""
        while True:
            self.bar.n = self.share
            with contextlib.suppress(OSError):  # a terminal that is gone doesn't stop the load
                self.bar.set_description_str(self.describe())
            if self.ended.wait(DRAW_SECONDS):
                return

    def describe(self):
        """Return the phase, the time taken, that of the whole run as it seems, and the share."""
        elapsed, moved = time.monotonic() - self.started, self.moved - self.started
        took = format_time(elapsed)
        if self.share and moved > HASTE_SECONDS:
            took += f" of ~{format_time(max(elapsed, moved / self.share))}"
        return f"{self.name:<19} {took} {self.share:4.0%}"


def format_time(seconds: float) -> str:
    """Return a time as minutes and seconds, and hours if there are any."""
    return tqdm.format_interval(seconds).removeprefix("0")


def weigh(file: File) -> int:
    """Return how many bytes of lines take as long to load as a File, or a part of one, does."""
    end = file.size if file.end is None else file.end
    return end - file.start + (0 if file.start else FILE_BYTES)
