"""The benchmark runs to its end; what it measures is for people."""

import json
import subprocess
import sys

import pytest
from records import EVENT, write_lines
from scripts import PROJECT, environment_of
from simulated import rename_songs

LITTLE = ["--events", "300", "--songs", "20", "--nightly-events", "50"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nightly", "--missing", "0.5:1"], "etl.py --load copy, later days"),
        (["--only", "songs", "--against", str(PROJECT)], "etl.py --load copy, songs alone:"),
        (["--ask"], "together"),
    ],
)
def test_the_benchmark_prints_its_table(arguments, words):
    result = subprocess.run(
        [sys.executable, PROJECT / "tests/tools/benchmark.py", *LITTLE, *arguments],
        env=environment_of(),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert f"\n{words} " in result.stdout


@pytest.mark.parametrize("songs", [1, 3])
def test_a_share_of_the_plays_is_renamed_to_so_many_songs(tmp_path, songs):
    view = EVENT | {"page": "Home", "artist": None, "song": None, "length": None}
    lines = [json.dumps(event, separators=(",", ":")) for event in [EVENT, view] * 100]
    path = write_lines(tmp_path / "events.json", lines)
    rename_songs(tmp_path, 0.5, songs)
    with open(path, encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    renamed = [event for event in events if event["artist"] == "Unknown 0"]
    assert {event["song"] for event in renamed} == {f"Unknown {n}" for n in range(songs)}
    assert 30 < len(renamed) < 70
    names = {"artist": "The Ferrymen", "song": "Slow River", "length": EVENT["length"]}
    assert [event | names if event in renamed else event for event in events] == [EVENT, view] * 100
