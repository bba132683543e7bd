"""The Galaxy Zoo 2 release, fetched from a server that speaks as Zenodo does."""

import csv
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest
from click.testing import CliRunner
from PIL import Image

from discovery.cli import main
from discovery.fetch.download import PIECE_BYTES
from tests.fetch.httpd import Answer

IDS = [587742615639294556, 587742615639294557, 587722982300516593]
FILES = "/zenodo/records/3565489/files"


def jpeg(seed):
    made = io.BytesIO()
    Image.effect_noise((64, 64), 20 + seed).convert("RGB").save(made, "JPEG")
    return made.getvalue()


def table(header, rows):
    made = io.StringIO()
    csv.writer(made).writerows([header, *rows])
    return made.getvalue().encode()


def archive():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        for asset in (11, 33):
            zipped.writestr(f"images/{asset}.jpg", jpeg(asset))
        zipped.writestr("images/note.txt", bytes(3 * 2**20))  # more than a piece
    return made.getvalue()


def ranged(body, etag='"one"'):
    """Answers as RFC 9110 has it: Range with If-Range, else all of it."""

    def answer(ask):
        wanted = ask.headers.get("Range")
        if not wanted or ask.headers.get("If-Range") != etag:
            return Answer(body, ETag=etag)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            return Answer(b"", 416, Content_Range=f"bytes */{len(body)}")
        place = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return Answer(body[start:], 206, ETag=etag, Content_Range=place)

    return answer


@pytest.fixture
def zenodo(server, services):
    """The record and its files, and the vote table where it lies."""
    mapped = [[IDS[0], "original", 11], [IDS[1], "original", 22], [IDS[2], "original", 33]]
    bodies = {
        "images_gz2.zip": archive(),
        "gz2_filename_mapping.csv": table(["objid", "sample", "asset_id"], mapped),
    }
    publish(server, bodies)
    votes = table(
        ["dr7objid", "ra", "dec", "total_classifications"],
        [[IDS[0], 10, 20, 40], [IDS[1], 11, 21, 41]],
    )
    server.answers["/gz2_votes/gz2_hart16.csv.gz"] = ranged(gzip.compress(votes))
    return bodies


def publish(server, bodies, **changes):
    """A record as Zenodo's API has it; `changes` go into the entry of the archive."""
    entries = [
        {
            "id": f"00000000-{name}",
            "key": name,
            "size": len(body),
            "checksum": f"md5:{hashlib.md5(body).hexdigest()}",
            "links": {"self": f"{server.url}{FILES}/{name}/content"},
        }
        | (changes if name.endswith(".zip") else {})
        for name, body in bodies.items()
    ]
    record = {"id": 3565489, "doi": "10.5281/zenodo.3565489", "files": entries}
    server.answers["/zenodo/records/3565489"] = Answer(json.dumps(record))
    for name, body in bodies.items():
        server.answers[f"{FILES}/{name}/content"] = ranged(body)


def fetch(tmp_path, *more):
    return CliRunner().invoke(main, ["fetch", "gz2", "--out", str(tmp_path / "gz2"), *more])


def test_the_release_comes_and_says_how_many_have_no_image(zenodo, tmp_path):
    told = fetch(tmp_path)
    assert told.exit_code == 0, told.output
    assert "3 galaxies are mapped; 1 of them have no image (33.33%)." in told.output
    assert "2 galaxies have votes; 1 of them have no image (50.00%)." in told.output
    for name, body in zenodo.items():
        assert (tmp_path / "gz2" / name).read_bytes() == body
    fetched = json.loads((tmp_path / "gz2/fetched.json").read_text())
    zipped = zenodo["images_gz2.zip"]
    assert fetched["images_gz2.zip"]["sha256"] == hashlib.sha256(zipped).hexdigest()
    assert fetched["gz2_hart16.csv.gz"]["url"].endswith("/gz2_votes/gz2_hart16.csv.gz")
    assert not list((tmp_path / "gz2").glob("*.partial*"))


def test_what_is_there_is_not_fetched_again_and_offline_is_enough(zenodo, tmp_path, server):
    fetch(tmp_path)
    server.seen.clear()
    told = fetch(tmp_path, "--offline")
    assert told.exit_code == 0, told.output
    assert not server.seen


def test_offline_without_the_files_says_so(services, tmp_path, server):
    told = fetch(tmp_path, "--offline")
    assert told.exit_code == 2
    assert "not in the cache, and --offline was given" in told.output
    assert not server.seen


def test_a_broken_download_goes_on_where_it_was(zenodo, tmp_path, server):
    body = zenodo["images_gz2.zip"]
    path = f"{FILES}/images_gz2.zip/content"
    broken = Answer(body[: PIECE_BYTES + 5], declared=len(body), ETag='"one"')
    server.answers[path] = [broken, ranged(body)]
    told = fetch(tmp_path)
    assert told.exit_code == 0, told.output
    first, second = server.seen[path]
    assert (first.headers["Range"], second.headers["Range"]) == (None, f"bytes={PIECE_BYTES + 5}-")
    assert (tmp_path / "gz2/images_gz2.zip").read_bytes() == body


def test_a_killed_download_goes_on_where_it_was(zenodo, tmp_path, server):
    body = zenodo["images_gz2.zip"]
    path = f"{FILES}/images_gz2.zip/content"
    whole = server.answers[path]
    server.answers[path] = Answer(body, piece=PIECE_BYTES, pause_s=30, ETag='"one"')
    out = tmp_path / "gz2"
    words = [sys.executable, "-m", "discovery", "fetch", "gz2", "--out", str(out)]
    running = subprocess.Popen(words, env=os.environ, stderr=subprocess.DEVNULL)
    partial = out / "images_gz2.zip.partial"
    for _ in range(600):
        if partial.exists() and partial.stat().st_size == PIECE_BYTES:
            break
        time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert partial.stat().st_size == PIECE_BYTES
    assert not (out / "images_gz2.zip").exists()
    server.answers[path] = whole
    fetch(tmp_path)
    assert server.seen[path][1].headers["Range"] == f"bytes={PIECE_BYTES}-"
    assert (out / "images_gz2.zip").read_bytes() == body


def test_a_file_that_changed_meanwhile_comes_anew(zenodo, tmp_path, server):
    body = zenodo["images_gz2.zip"]
    path = f"{FILES}/images_gz2.zip/content"
    server.answers[path] = [
        Answer(b"x" * (PIECE_BYTES + 5), declared=len(body), ETag='"old"'),
        ranged(body, etag='"new"'),
    ]
    told = fetch(tmp_path)
    assert told.exit_code == 0, told.output
    assert (tmp_path / "gz2/images_gz2.zip").read_bytes() == body


def test_a_server_that_cannot_resume_is_asked_for_all(zenodo, tmp_path, server):
    body = zenodo["images_gz2.zip"]
    path = f"{FILES}/images_gz2.zip/content"
    server.answers[path] = [
        Answer(body[: PIECE_BYTES + 5], declared=len(body), ETag='"one"'),
        Answer(body),
    ]
    assert fetch(tmp_path).exit_code == 0
    assert (tmp_path / "gz2/images_gz2.zip").read_bytes() == body


def test_without_a_version_the_digest_vouches_for_what_is_put_together(zenodo, tmp_path, server):
    body = zenodo["images_gz2.zip"]
    path = f"{FILES}/images_gz2.zip/content"
    have = PIECE_BYTES + 5
    rest = Answer(body[have:], 206, Content_Range=f"bytes {have}-{len(body) - 1}/{len(body)}")
    server.answers[path] = [Answer(body[:have], declared=len(body)), rest]
    told = fetch(tmp_path)
    assert told.exit_code == 0, told.output
    assert server.seen[path][1].headers["Range"] == f"bytes={have}-"
    assert server.seen[path][1].headers["If-Range"] is None
    assert (tmp_path / "gz2/images_gz2.zip").read_bytes() == body


def test_a_part_that_is_not_what_was_asked_for_is_refused(zenodo, tmp_path, server):
    body = zenodo["images_gz2.zip"]
    server.answers[f"{FILES}/images_gz2.zip/content"] = [
        Answer(body[: PIECE_BYTES + 5], declared=len(body), ETag='"one"'),
        Answer(body[5:], 206, Content_Range=f"bytes 5-{len(body) - 1}/{len(body)}"),
    ]
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert "not what was asked for" in told.output


def test_a_wrong_digest_is_refused_and_removed(zenodo, tmp_path, server):
    body = bytearray(zenodo["images_gz2.zip"])
    body[100] ^= 1
    server.answers[f"{FILES}/images_gz2.zip/content"] = ranged(bytes(body))
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert f"has the MD5 {hashlib.md5(body).hexdigest()}" in told.output
    assert "https://doi.org/10.5281/zenodo.3565489" in told.output
    assert not (tmp_path / "gz2/images_gz2.zip").exists()
    assert not (tmp_path / "gz2/images_gz2.zip.partial").exists()


def test_a_finished_file_that_rotted_is_told_and_left(zenodo, tmp_path):
    fetch(tmp_path)
    path = tmp_path / "gz2/images_gz2.zip"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert f"{path} has the MD5" in told.output
    assert "Remove or rename it" in told.output
    assert path.exists()


def test_a_dead_link_gives_the_doi(zenodo, tmp_path, server):
    del server.answers[f"{FILES}/images_gz2.zip/content"]
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert "404 Not Found" in told.output
    assert "look for images_gz2.zip at https://doi.org/10.5281/zenodo.3565489" in told.output


def test_a_record_that_is_gone_gives_the_doi(services, tmp_path):
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert "404 Not Found" in told.output
    assert (
        "https://doi.org/10.5281/zenodo.3565489: put images_gz2.zip and gz2_filename_mapping.csv "
        "into a folder, and gz2_hart16.csv.gz of https://data.galaxyzoo.org beside them"
    ) in told.output


@pytest.mark.parametrize("text", ["<html>Sign in to this network</html>", '{"files": 3}', "[]"])
def test_a_page_in_place_of_the_record(services, tmp_path, server, text):
    server.answers["/zenodo/records/3565489"] = Answer(text)
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert "https://doi.org/10.5281/zenodo.3565489" in told.output
    server.answers["/zenodo/records/3565489"] = Answer('{"files": []}')
    assert "has no file gz2_filename_mapping.csv (there: none)" in fetch(tmp_path).output


def test_a_100_gb_header_is_not_believed(zenodo, tmp_path, server):
    path = f"{FILES}/images_gz2.zip/content"
    server.answers[path] = Answer(b"x", declared=100 * 2**30)
    told = fetch(tmp_path)
    assert told.exit_code == 2
    size = len(zenodo["images_gz2.zip"])
    assert f"is 107,374,182,400 bytes long, not {size:,} as published" in told.output
    server.answers["/gz2_votes/gz2_hart16.csv.gz"] = Answer(b"x", declared=100 * 2**30)
    server.answers[path] = ranged(zenodo["images_gz2.zip"])
    assert "107,374,182,400 bytes long, not at most 2,147,483,648" in fetch(tmp_path).output


def test_more_than_the_disk_holds_is_refused_first(zenodo, tmp_path, server):
    huge = 10**18
    publish(server, zenodo, size=huge)
    server.answers[f"{FILES}/images_gz2.zip/content"] = Answer(b"x", declared=huge)
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert "GiB free and 931,322,574.6 GiB are to come" in told.output


def test_a_record_that_leads_to_a_file_of_this_machine_is_refused(zenodo, tmp_path, server):
    publish(server, zenodo, links={"self": "file:///etc/passwd"})
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert "files.0.links.self" in told.output


def test_a_vote_table_that_is_a_page_is_refused(zenodo, tmp_path, server):
    server.answers["/gz2_votes/gz2_hart16.csv.gz"] = Answer("<html>Moved</html>")
    told = fetch(tmp_path)
    assert told.exit_code == 2
    assert "gz2_hart16.csv.gz" in told.output
    assert "cannot be read as a table" in told.output
