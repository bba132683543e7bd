import contextlib
import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from discovery.errors import BadInput
from discovery.files import digest, read_json, remove_leftovers, write_json, writing


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "file"
    with writing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    with contextlib.suppress(ZeroDivisionError), writing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"),
     RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)")],
)  # fmt: skip
def test_a_full_disk_is_explained(tmp_path, error):
    explained = pytest.raises(BadInput, match=r"no room left to write .*file.*same command again")
    with explained, writing(tmp_path / "file"):
        raise error


def test_a_limit_on_file_size_leaves_no_part_behind(tmp_path):
    program = (
        "from discovery.files import writing\n"
        "with writing('big') as temporary: temporary.write_bytes(bytes(100_000))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )  # fmt: skip
    assert "no room left to write big" in done.stderr
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/.00000.parquet.77.part").write_text("half")
    (tmp_path / "deep/00000.parquet").write_text("whole")
    remove_leftovers(tmp_path)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["00000.parquet"]


def test_json_round_trip_and_its_errors(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, None]}
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(BadInput, match="not valid JSON"):
        read_json(tmp_path / "bad.json")
    with pytest.raises(BadInput, match="does not exist"):
        read_json(tmp_path / "none.json")


def test_a_digest_knows_content_not_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
