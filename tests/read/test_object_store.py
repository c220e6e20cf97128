"""DATA in shared storage, read by S3's protocol: what a local folder gives."""

import json
import os
import pickle
import signal
import socket
from itertools import count

import pytest
from pyarrow import ArrowException
from pyarrow.fs import LocalFileSystem
from records import event, read_tables, song, write_data, write_lines
from remote import AWS, AWS_SIGNED, CREDENTIALS, KEY, Storage, assert_is_loaded
from scripts import thorough

import etl
from sparkify.errors import LoadError, WrongArguments
from sparkify.read import object_store
from sparkify.read.files import File
from sparkify.read.raw import read_lines
from sparkify.read.storage import find_storage, folder_of
from sparkify.run import summary


def moved(outcome, old, new):
    """Return an Outcome as it is where the files are not in the folder `old` but in `new`."""
    entries = map(json.loads, outcome.rejects)
    moved_entries = [entry | {"file": entry["file"].replace(old, new, 1)} for entry in entries]
    return outcome._replace(rejects=[json.dumps(entry) for entry in moved_entries])


@pytest.mark.parametrize("way", [thorough("rows"), "copy"])
def test_shared_storage_gives_what_a_local_folder_gives(load, mixed_data, storage, bucket, way):
    path = f"{bucket}/tägliche Daten/50%"
    storage.upload(mixed_data, path)
    local = load(mixed_data, "--load", way)
    assert_is_loaded(local, mixed_data)
    remote = load(storage.url(path), "--load", way, **AWS_SIGNED)
    assert remote == moved(local, str(mixed_data), f"s3://{path}")


def test_the_environment_can_name_the_server(load, small_data, storage, bucket):
    storage.upload(small_data, bucket)
    variables = {"AWS_ENDPOINT_URL": f"http://{storage.address}", "AWS_DEFAULT_REGION": "us-east-1"}
    outcome = load(f"s3://{bucket}", **variables, **AWS_SIGNED)
    assert (outcome.status, outcome.errors, len(outcome.tables["songplays"])) == (0, [], 1)


def test_a_url_may_hold_credentials_and_end_with_a_slash(load, small_data, storage, bucket):
    write_lines(small_data / "log_data" / "bad.json", ["bad"])
    storage.upload(small_data, f"{bucket}/a")
    outcome = load(storage.url(f"{bucket}/a/", CREDENTIALS), **AWS)
    assert (outcome.status, outcome.errors, len(outcome.tables["songplays"])) == (3, [], 1)
    [reject] = outcome.rejects
    assert json.loads(reject)["file"] == f"s3://{bucket}/a/log_data/bad.json"


@pytest.mark.parametrize("missing", ["song_data", thorough("log_data")])
def test_shared_storage_must_hold_both_folders(load, small_data, storage, bucket, missing):
    storage.upload(small_data, f"{bucket}/a")
    storage.files.delete_dir(f"{bucket}/a/{missing}")
    outcome = load(storage.url(f"{bucket}/a", CREDENTIALS), **AWS)
    assert outcome.status == 2
    assert outcome.errors == [
        f"etl.py: there is no folder s3://{bucket}/a/{missing}; "
        "DATA must hold song_data/ and log_data/"
    ]


def test_a_bucket_that_is_missing(load, storage):
    outcome = load(storage.url("no-such-bucket/a", CREDENTIALS), **AWS)
    assert outcome.status == 2
    assert outcome.errors == [
        "etl.py: there is no folder s3://no-such-bucket/a; DATA must hold song_data/ and log_data/"
    ]


def test_shared_storage_that_cannot_be_reached(load, closed_port):
    storage = Storage(f"127.0.0.1:{closed_port}")
    outcome = load(storage.url("some-bucket/a", CREDENTIALS), **AWS)
    assert outcome.status == 1
    [error] = outcome.errors
    assert error.startswith("etl.py: can't read s3://some-bucket/a/song_data: ")


@pytest.mark.parametrize(
    "url",
    [
        f"s3://{CREDENTIALS}bucket/a b",
        thorough(f"s3://{CREDENTIALS}bucket/a?region=us-east-1&no_such=1"),
        thorough(f"no://{CREDENTIALS}bucket/a"),
        thorough("s3://?region=us-east-1"),
    ],
)
def test_a_url_that_means_nothing(load, url):
    outcome = load(url, **AWS)
    assert outcome.status == 2
    [error] = outcome.errors
    assert error.startswith("etl.py: DATA can't be read as a URL")


def test_a_url_whose_region_cannot_be_found(monkeypatch):
    class Unreachable:
        def from_uri(url):
            raise OSError(f"could not resolve the region of some-bucket for {KEY}")

    monkeypatch.setattr(object_store, "FileSystem", Unreachable)
    with pytest.raises(LoadError, match=r"some-bucket for …; .*\?region="):
        object_store.open_url(f"s3://{CREDENTIALS}some-bucket/a")


def test_credentials_are_left_out_of_what_a_storage_says():
    assert (
        object_store.hide_credentials("of KEY:a/b or a%2Fb", "s3://KEY:a%2Fb@x/y") == "of …:… or …"
    )
    assert object_store.hide_credentials("of x", "s3://x/y") == "of x"


# Storage that fails


def test_a_storage_that_throttles_costs_no_file(refusing, storage, bucket):
    """A quarter of the requests is refused, more than pyarrow by default ever makes again."""
    numbers, refused = count(), []

    def refuse(method, path):
        if next(numbers) % 4 == 0:
            refused.append(path)
            return "503 Slow Down"
        return None

    with storage.files.open_output_stream(f"{bucket}/a.json") as stream:
        stream.write(bytes(1000))
    throttled, _ = object_store.open_url(refusing(refuse).url(bucket, CREDENTIALS))
    throttled = pickle.loads(pickle.dumps(throttled))  # as workers get it
    files = [File("log", f"s3://{bucket}/a.json", 1000)] * 200
    assert list(throttled.read(files, read_lines)) == [(bytes(1000), 1000)] * 200
    assert len(refused) > 120


def test_who_may_list_folders_need_not_ask_for_them(load_from, refusing, storage, bucket, tmp_path):
    def refuse(method, path):
        return "403 Forbidden" if method == "HEAD" and not path.endswith(".json") else None

    storage.upload(write_nights(tmp_path / "data", 2), bucket)
    listed, root = find_storage(refusing(refuse).url(bucket, CREDENTIALS))
    assert load_from(listed, root, "rows")["log"].files == 2
    with pytest.raises(WrongArguments, match="there is no folder"):
        find_storage(refusing(refuse).url(f"{bucket}/no", CREDENTIALS))


class Faulty(object_store.SharedStorage):
    """A storage of which some files can't be read, so many times; the others can."""

    def __init__(self, faults, error):
        super().__init__(LocalFileSystem())
        self.faults, self.error = faults, error

    def open(self, uri):
        name = uri.rpartition("/")[2]
        if self.faults.get(name):
            self.faults[name] -= 1
            raise self.error
        return super().open(uri)


@pytest.fixture
def load_from(conn, cur, tmp_path):
    """Loads what a storage holds and returns the Tallies."""

    def load_data(storage, root, how):
        run = summary.Run(storage)
        files = {kind: run.find_files(cur, kind, folder_of(root, kind)) for kind in etl.PROCESS}
        etl.load_files(cur, conn, files, how, run)
        return run.tallies

    return load_data


def write_nights(folder, nights):
    """Write a data folder with a song and a log file a night, and return its path."""
    for night in range(nights):
        write_lines(folder / "log_data" / f"{night:03}.json", [event(ts=night)])
    return write_data(folder, [song()])


DENIED = OSError("AWS Error ACCESS_DENIED during HeadObject operation: No response body.")


@pytest.mark.parametrize(("way", "error"), [("rows", ArrowException("refused")), ("copy", DENIED)])
def test_a_bad_moment_costs_nothing_and_a_bad_file_only_itself(
    load_from, cur, tmp_path, way, error
):
    root = f"x://{write_nights(tmp_path / 'data', 4)}"
    storage = Faulty({"001.json": 4, "002.json": 5}, error)
    tallies = load_from(storage, root, way)
    assert [tallies["song"].files, tallies["song"].unreadable] == [1, 0]
    assert [tallies["log"].files, tallies["log"].unreadable] == [3, 1]
    assert len(read_tables(cur)["songplays"]) == 3


@pytest.mark.parametrize(
    ("seconds", "error", "reason"),
    [
        (0, TimeoutError("no answer"), "no answer"),
        (60, DENIED, r"AWS Error ACCESS_DENIED.* \(have the credentials expired, .*\?\)"),
    ],
)
def test_files_that_fail_one_after_another_end_the_run(
    load_from, cur, tmp_path, monkeypatch, seconds, error, reason
):
    monkeypatch.setattr(object_store, "REFUSAL_SECONDS", seconds)
    storage = Faulty({f"00{n}.json": 9 for n in range(2, 9)}, error)
    with pytest.raises(LoadError, match=f"can't read x://.*006.json any more: {reason};"):
        load_from(storage, f"x://{write_nights(tmp_path / 'data', 8)}", "rows")
    assert read_tables(cur)["songplays"] == []


def test_a_storage_that_denies_all_is_asked_no_more(monkeypatch):
    def deny(self, uri):
        asked.append(uri)
        raise PermissionError("expired")

    asked = []
    file = File("log", "x:///logs/1.json", 1)
    monkeypatch.setattr(Faulty, "is_folder", deny)
    with pytest.raises(LoadError, match="can't read x:///logs any more: expired; "):
        list(Faulty({"1.json": 9}, DENIED).read([file], read_lines))
    assert asked == ["x:///logs"]


@pytest.mark.parametrize(
    ("text", "is_denial"),
    [
        (
            "AWS Error UNKNOWN (HTTP status 400) during HeadObject operation: No response body.",
            True,
        ),
        ("AWS Error INVALID_ACCESS_KEY_ID during GetObject operation: Unknown", True),
        ("AWS Error SIGNATURE_DOES_NOT_MATCH during GetObject operation: Wrong", True),
        ("google::cloud::Status(PERMISSION_DENIED: no)", True),
        (
            "AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response body.",
            False,
        ),
        ("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7", False),
        ("google::cloud::Status(UNAVAILABLE: no)", False),
    ],
)
def test_what_a_storage_says_to_credentials_is_told_from_other_errors(text, is_denial):
    assert isinstance(object_store.sort_error(OSError(text)), PermissionError) == is_denial


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C can't be sent to one process here")
def test_ctrl_c_ends_a_run_that_a_storage_keeps_waiting_for_longer(start):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = Storage("{}:{}".format(*mute.getsockname())).url("bucket", CREDENTIALS)
        process = start("etl.py", url, **AWS)
        connection, _ = mute.accept()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=9)  # pyarrow's own end of S3 takes 13 s
        connection.close()
    assert process.returncode == 130
    assert errors == "etl.py: interrupted; nothing was loaded, run it again\n"


@pytest.mark.parametrize(("state", "way"), [("gone", "rows"), ("mute", "copy")])
def test_a_storage_that_goes_away_ends_the_run(
    load_from, cur, storage, bucket, proxy, tmp_path, monkeypatch, state, way
):
    def read_and_cut(self, file, read_lines):
        if file.uri.endswith("log_data/003.json"):
            proxy.change(state)
        return read(self, file, read_lines)

    read = object_store.SharedStorage.try_to_read
    monkeypatch.setattr(object_store.SharedStorage, "try_to_read", read_and_cut)
    storage.upload(write_nights(tmp_path / "data", 5), bucket)
    cut_off, root = find_storage(Storage(proxy.address).url(bucket, CREDENTIALS))
    monkeypatch.setattr(object_store, "REQUEST_SECONDS", 1)
    monkeypatch.setattr(object_store, "RETURN_SECONDS", 1)
    with pytest.raises(LoadError, match=f"can't read s3://{bucket}/log_data any more: "):
        load_from(cut_off, root, way)
    assert read_tables(cur)["songplays"] == []
    load_from(object_store.SharedStorage(storage.files), root, way)
    assert len(read_tables(cur)["songplays"]) == 5
