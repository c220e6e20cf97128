"""Open reports in Chromium as people see them: on a wide and a narrow screen, and printed.

.venv/bin/python tests/tools/browser.py [REPORT ...]

says what is cut, overlaps or can't be read, and ends with 1 if anything is. Unless some are named,
it makes the reports of WORLDS. It needs Chromium and poppler-utils: .ci/run calls it, not pytest.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))

from records import DATA, event, song, write_data

HOUR = 3_600_000  # milliseconds
LONG = "Orchestre et choeur de Saint-Jean-de-Luz-et-Ciboure, avec " + 46 * "a"
NAMES = [LONG, 100 * "N", "Bj\x85\ufffdrk"]
# By name: the sample, names that are hardly to be shown, and a service of one user.
WORLDS = {
    "sample": None,
    "names": (
        [
            song(song_id=f"SO{name[:2]}", artist_id=f"AR{name[:2]}", artist_name=name)
            for name in NAMES
        ],
        [
            event(ts=1541106106796 + n * HOUR, userId=str(n % 7), sessionId=n // 4, artist=name)
            for n in range(60)
            for name in (NAMES[n % 3],)
        ],
    ),
    "one-user": ([song()], [event(ts=1541106106796 + n, itemInSession=n) for n in range(5)]),
}
WIDTHS = (1280, 400)  # CSS pixels of a screen
PAPER = 703  # of a page of A4 between its margins
FOUND = re.compile(r'<pre id="found">(.*?)</pre>', re.DOTALL)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = [
    next(filter(None, map(shutil.which, BROWSERS)), "chromium"),
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
]
CHROMIUM += ["--disable-background-networking", "--hide-scrollbars", "--virtual-time-budget=10000"]

# Runs in the page, and leaves a list of faults. What scrolls sideways may be wider than its box on
# a narrow screen only; a text may take several lines where it may wrap, a number takes one.
MEASURE = """
const faults = [], root = document.documentElement;
const may_scroll = SCROLLS;
const say = (what, element) =>
    faults.push(what + ": " + element.tagName.toLowerCase() + " " +
                (element.alt || element.textContent).trim().slice(0, 60));
const box = element => element.getBoundingClientRect();
if (root.scrollWidth > root.clientWidth) say("wider than the screen", document.body);
for (const wide of document.querySelectorAll(".wide"))
    if (wide.scrollWidth > wide.clientWidth + 1 && !may_scroll) say("cut", wide);
for (const element of document.querySelectorAll("h1, h2, h3, p, li, pre, th, td")) {
    if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth)
        say("its text leaves it", element);
    const wide = element.closest(".wide"), edge = wide || root;
    const ends = wide ? box(wide).left - wide.scrollLeft + wide.scrollWidth : root.clientWidth;
    if (box(element).right > ends + 1) say("beyond the edge", element);
}
for (const cell of document.querySelectorAll("td:not(.text)")) {
    const range = document.createRange();
    range.selectNodeContents(cell);
    if (new Set([...range.getClientRects()].map(line => Math.round(line.top))).size > 1)
        say("a number in two lines", cell);
}
for (const image of document.querySelectorAll("img"))
    if (!image.naturalWidth || box(image).width < LEAST * image.naturalWidth - 1)
        say("too small to read", image);
const blocks = [...document.querySelectorAll(
    "h1, h2, h3, main > p, header p, main li, pre, .wide")];
blocks.slice(1).forEach((block, at) => {
    const before = blocks[at];
    if (!before.contains(block) && box(block).height && box(block).top < box(before).bottom - 1)
        say("overlaps what precedes it", block);
});
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode())
    if (texts.currentNode.data.trim() &&
        parseFloat(getComputedStyle(texts.currentNode.parentElement).fontSize) < SMALLEST)
        say("letters too small", texts.currentNode.parentElement);
const found = document.createElement("pre");
found.id = "found";
found.textContent = JSON.stringify(faults);
document.body.append(found);
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("reports", metavar="REPORT", nargs="*")
    named = parser.parse_args().reports
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["SPARKIFY_PGDATA"] = f"{folder}/pg"
        paths = named or [make_report(Path(folder), *world) for world in WORLDS.items()]
        faults = [f"{path}: {fault}" for path in paths for fault in check(Path(path).read_text())]
    print("\n".join(faults) or "nothing is cut, overlaps or is too small")
    return 1 if faults else 0


def make_report(folder, name, records):
    """Return the path of the report on records or, without any, on the sample."""
    data = write_data(folder / name, *records) if records else DATA
    report = folder / f"{name}.html"
    for command in (["create_tables.py"], ["etl.py", data], ["-m", "sparkify", "report", report]):
        run([sys.executable, *map(str, command)])
    return report


def check(page):
    """Return what is wrong with a report, a line each."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        faults = [
            f"at {width} px, {fault}"
            for width in WIDTHS
            for fault in measure(page, width, width < 700, 0.75, 12, folder)
        ]
        printed = page.replace("@media print", "@media all").replace("@page", "@nothing")
        faults += [f"printed, {fault}" for fault in measure(printed, PAPER, False, 0.5, 9, folder)]
        return faults + check_print(page, folder)


def measure(page, width, may_scroll, least, smallest, folder):
    """Return the faults of a page on a screen of a width, by a copy that measures itself.

    It stands in a frame: a window is never as narrow as a telephone.
    """
    script = MEASURE.replace("SCROLLS", json.dumps(may_scroll))
    script = script.replace("LEAST", str(least)).replace("SMALLEST", str(smallest))
    script = f"<script>{script}; parent.postMessage(JSON.stringify(faults), '*')</script></body>"
    (folder / "page.html").write_text(page.replace("</body>", script), encoding="utf-8")
    (folder / "frame.html").write_text(
        f'<iframe src="page.html" style="width: {width}px; height: 2000px; border: 0"></iframe>'
        '<pre id="found"></pre><script>addEventListener("message", event => '
        "document.getElementById('found').textContent = event.data)</script>",
        encoding="utf-8",
    )
    shown = browse("--dump-dom", folder / "frame.html")
    return json.loads(unescape(FOUND.search(shown)[1]))


def check_print(page, folder):
    """Return the faults of a page as it is printed: words off the paper, headings left alone."""
    path, pdf = folder / "printed.html", folder / "printed.pdf"
    path.write_text(page, encoding="utf-8")
    browse("--no-pdf-header-footer", f"--print-to-pdf={pdf}", path)
    faults = []
    headings = {unescape(re.sub("<.*?>", "", text)) for text in re.findall("<h[23].*?</h", page)}
    layout = run(["pdftotext", "-bbox", pdf, "-"])
    for number, sheet in enumerate(re.findall("<page .*?</page>", layout, re.DOTALL), start=1):
        width, height = map(float, re.search('width="(.*?)" height="(.*?)"', sheet).groups())
        for *edges, word in re.findall(
            r'<word xMin="(.*?)" yMin="(.*?)" xMax="(.*?)" yMax="(.*?)">(.*?)</word>', sheet
        ):
            left, top, right, bottom = map(float, edges)
            if left < 0 or top < 0 or right > width or bottom > height:
                faults.append(f"printed on page {number}, beyond the paper: {unescape(word)}")
    for number, text in enumerate(run(["pdftotext", "-layout", pdf, "-"]).split("\f"), start=1):
        last = text.strip().rpartition("\n")[2].strip()
        if last in headings:
            faults.append(f"printed on page {number}, a heading is left alone: {last}")
    return faults


def browse(option, *arguments):
    with tempfile.TemporaryDirectory() as profile:
        command = [*CHROMIUM, f"--user-data-dir={profile}", option, *map(str, arguments)]
        command[-1] = Path(command[-1]).as_uri()
        return run(command)


def run(command):
    result = subprocess.run(
        command, cwd=PROJECT, capture_output=True, encoding="utf-8", timeout=300
    )
    if result.returncode:
        sys.exit(f"{command[0]} failed: {result.stderr}")
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
