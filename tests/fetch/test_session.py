"""Asking services that are busy, slow, broken, or not what they say they are."""

import gzip
import time

import pytest
import requests

from discovery.errors import BadInput
from discovery.fetch.services import VARIABLE, Services, read_services
from discovery.fetch.session import PoliteSession, Unanswered
from tests.fetch.httpd import Answer


@pytest.fixture
def asking(services):
    return PoliteSession(services, per_second=200, most_bytes=2**20)


def get(asking, url):
    return asking.ask(lambda: asking.get(url).text)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_service_is_asked_again(server, asking, status, capsys):
    server.answers["/"] = [Answer("busy", status), Answer("here")]
    assert get(asking, server.url) == "here"
    assert f"the service is busy ({status}); asking again in 0 s" in capsys.readouterr().err


def test_retry_after_is_honoured(server, asking):
    server.answers["/"] = [Answer("busy", 429, Retry_After="1"), Answer("here")]
    assert get(asking, server.url) == "here"
    first, second = server.seen["/"]
    assert second.at - first.at >= 1


def test_a_wait_that_nobody_would_wait_is_told_instead(server, asking):
    server.answers["/"] = Answer("busy", 503, Retry_After="86400")
    with pytest.raises(Unanswered, match=r"asks not to be asked again for 86400 s"):
        get(asking, server.url)
    assert len(server.seen["/"]) == 1


def test_a_service_that_stays_busy_is_left_alone(server, asking):
    server.answers["/"] = Answer("<html><h1>Overloaded</h1></html>", 503)
    with pytest.raises(Unanswered, match=r"^503 Service Unavailable: Overloaded$"):
        get(asking, server.url)
    assert len(server.seen["/"]) == 3  # and two retries


def test_what_is_not_there_is_not_asked_for_again(server, asking):
    with pytest.raises(Unanswered, match=r"^404 Not Found: no such page$") as refused:
        get(asking, server.url + "/gone")
    assert not refused.value.again
    assert len(server.seen["/gone"]) == 1


def test_a_broken_answer_is_asked_for_again(server, asking):
    server.answers["/"] = [Answer("ha", declared=4), Answer("half")]
    assert get(asking, server.url) == "half"
    server.answers["/"] = Answer("ha", declared=4)
    with pytest.raises(Unanswered, match=r"connection broke before the answer was complete"):
        get(asking, server.url)


def test_an_answer_in_chunks(server, asking):
    whole = b"4\r\nhere\r\n3\r\n it\r\n0\r\n\r\n"
    server.answers["/"] = [Answer(whole[:12], chunked=True), Answer(whole, chunked=True)]
    assert get(asking, server.url) == "here it"  # the first broke off, and was asked for again


def test_a_silent_service(server, asking):
    asking.timeout_s, asking.retries = 0.3, 0
    server.answers["/"] = Answer("half", declared=8, pause_s=2)
    with pytest.raises(Unanswered, match=r"no answer in time|cannot be reached: .*timed out"):
        get(asking, server.url)


def test_a_service_that_drips(server, asking):
    asking.timeout_s, asking.retries = 0.5, 0
    server.answers["/"] = Answer(b"x" * 100, piece=1, pause_s=0.05)
    begun = time.monotonic()
    with pytest.raises(Unanswered, match=r"too slow: \d+ bytes came in 1 s"):
        get(asking, server.url)
    assert time.monotonic() - begun < 2


def test_a_100_gb_header_is_refused_before_anything_is_read(server, asking):
    server.answers["/"] = Answer("x", declared=100 * 2**30)
    with pytest.raises(Unanswered, match=r"102,400 MiB or more is longer than the 1 MiB"):
        get(asking, server.url)


def test_an_endless_answer_is_cut(server, asking):
    asking.most_bytes = 5000
    server.answers["/"] = Answer(b"2000\r\n" + b"x" * 0x2000 + b"\r\n0\r\n\r\n", chunked=True)
    with pytest.raises(Unanswered, match=r"is longer than"):
        get(asking, server.url)


def test_an_answer_that_swells_when_unpacked_is_cut(server, asking):
    small = gzip.compress(bytes(2**24))
    assert len(small) < 2**15
    server.answers["/"] = Answer(small, Content_Encoding="gzip")
    with pytest.raises(Unanswered, match=r"is longer than the 1 MiB"):
        get(asking, server.url)


def test_redirects_are_followed_to_the_web_only(server, asking):
    server.answers["/there"] = Answer("here")
    server.answers["/"] = Answer(status=302, Location="/there")
    assert get(asking, server.url) == "here"
    server.answers["/"] = Answer(status=302, Location="file:///etc/passwd")
    with pytest.raises(Unanswered, match=r"redirected to what is no web address.*file:"):
        get(asking, server.url)


def test_a_loop_of_redirects_ends(server, asking):
    server.answers["/"] = Answer(status=302, Location="/")
    with pytest.raises(Unanswered, match=r"redirected more than 5 times"):
        get(asking, server.url)
    assert len(server.seen["/"]) == 6


def test_encryption_is_not_given_up(asking):
    answer = requests.Response()
    answer.status_code, answer.url = 302, "https://zenodo.org/x"
    answer.headers["location"] = "http://elsewhere.org/x"
    with pytest.raises(Unanswered, match=r"redirected from https to http://elsewhere"):
        asking.get_redirect_target(answer)
    answer.headers["location"] = "https://elsewhere.org/x"
    assert asking.get_redirect_target(answer) == "https://elsewhere.org/x"


def test_nobody_there(asking):
    with pytest.raises(Unanswered, match=r"cannot be reached: .*refused"):
        get(asking, "http://127.0.0.1:9")


def test_who_is_not_there_is_asked_again_a_few_times_and_not_in_silence(asking, capsys):
    begun, asking.retries, asking.backoff_s = time.monotonic(), 2, 0.1
    with pytest.raises(Unanswered, match=r"cannot be reached: .*refused"):
        get(asking, "http://127.0.0.1:9")
    assert time.monotonic() - begun < 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.startswith("  cannot be reached: ") for line in said)
    assert all(line.endswith("refused; asking again in 0 s") for line in said)


def test_a_service_that_hangs_up_is_asked_as_often_as_is_said(server, asking):
    server.answers["/"] = lambda ask: 1 / 0  # the handler dies without an answer
    with pytest.raises(Unanswered, match=r"cannot be reached: "):
        get(asking, server.url)
    assert len(server.seen["/"]) == 1 + asking.retries


def test_without_a_network_nobody_is_asked_twice(asking, capsys):
    asking.backoff_s = 60
    with pytest.raises(Unanswered, match=r"resolve 'nowhere\.invalid'.*is there a network\?") as no:
        get(asking, "http://nowhere.invalid/")
    assert no.value.again  # so that many questions in a row are given up
    assert capsys.readouterr().err == ""


def test_offline_sends_nothing(server, services):
    asking = PoliteSession(services, offline=True)
    with pytest.raises(Unanswered, match=r"not in the cache, and --offline was given"):
        get(asking, server.url)
    assert not server.seen


def test_the_pace_is_kept(server, services):
    server.answers["/"] = Answer("here")
    asking = PoliteSession(services, per_second=20)
    for _ in range(5):
        get(asking, server.url)
    times = [ask.at for ask in server.seen["/"]]
    assert times[-1] - times[0] >= 0.15  # 4 / 20 s, less what the two clocks differ by


def test_no_cookie_is_kept(server, asking):
    server.answers["/"] = Answer("here", Set_Cookie="who=you")
    get(asking, server.url)
    get(asking, server.url)
    assert "Cookie" not in server.seen["/"][1].headers


def test_a_mistake_in_the_code_is_no_answer_of_a_service(asking):
    def full_disk():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left"):
        asking.ask(full_disk)


def test_addresses_may_be_those_of_mirrors(tmp_path, monkeypatch):
    path = tmp_path / "mirrors.toml"
    path.write_text('vizier = "https://vizier.cfa.harvard.edu/"')
    monkeypatch.setenv(VARIABLE, str(path))
    assert read_services().vizier == "https://vizier.cfa.harvard.edu"
    assert read_services() == Services(vizier="https://vizier.cfa.harvard.edu")
    path.write_text('vizir = "https://vizier.cfa.harvard.edu"')
    with pytest.raises(BadInput, match=r"mirrors\.toml: vizir: .*known are zenodo, galaxyzoo"):
        read_services()
    path.write_text('vizier = "file:///etc"')
    with pytest.raises(BadInput, match=r"vizier: .*an address begins with http:// or https://"):
        read_services()
    path.unlink()
    with pytest.raises(BadInput, match=r"no TOML file that can be read .*unset DISCOVERY_SERVICES"):
        read_services()
