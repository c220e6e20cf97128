"""DATA in shared storage, read by S3's protocol: what a local folder gives."""

import json

import pytest
from records import write_lines
from remote import AWS, AWS_SIGNED, CREDENTIALS, Storage, assert_is_loaded


def moved(outcome, old, new):
    """Return an Outcome as it is where the files are not in the folder `old` but in `new`."""
    entries = map(json.loads, outcome.rejects)
    moved_entries = [entry | {"file": entry["file"].replace(old, new, 1)} for entry in entries]
    return outcome._replace(rejects=[json.dumps(entry) for entry in moved_entries])


@pytest.mark.parametrize("way", ["rows", "copy"])
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


@pytest.mark.parametrize("missing", ["song_data", "log_data"])
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
        f"s3://{CREDENTIALS}bucket/a?region=us-east-1&no_such=1",
        f"no://{CREDENTIALS}bucket/a",
    ],
)
def test_a_url_that_means_nothing(load, url):
    outcome = load(url, **AWS)
    assert outcome.status == 2
    [error] = outcome.errors
    assert error.startswith("etl.py: DATA can't be read as a URL")
