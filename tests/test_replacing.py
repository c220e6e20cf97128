"""Files replaced as a whole: who may read them meanwhile, and what stays of them."""

import os
import stat

import pytest

from sparkify.replacing import replace_file


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o600, 0o640, None])
def test_a_private_file_is_private_while_it_is_replaced(tmp_path, monkeypatch, mode):
    path, seen = tmp_path / "rejected.jsonl", []
    if mode:
        path.write_text("old")
        path.chmod(mode)

    def look(_):
        seen.extend(mode_of(file) for file in tmp_path.iterdir() if file != path)

    monkeypatch.setattr(os, "fsync", look)
    umask = os.umask(0o022)
    try:
        replace_file(path, "new\n")
    finally:
        os.umask(umask)
    wanted = mode or 0o644
    assert (seen, mode_of(path), path.read_text()) == ([wanted], wanted, "new\n")
    assert list(tmp_path.iterdir()) == [path]
