"""One polite way to ask any service: paced, patient, bounded, and clear about what went wrong."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader, NameResolutionError

import discovery
from discovery.errors import BadInput
from discovery.fetch.services import Services
from discovery.progress import say

T = TypeVar("T")
BUSY = frozenset({429, 500, 502, 503, 504})  # ask again later
MAX_REDIRECTS = 5
MAX_ANSWER_BYTES = 2**28  # of a table or cutout; VizieR's largest known lists are some 10 MB
LONGEST_WAIT_S = 300  # what a service may ask us to wait while a person looks on
SLOWEST_BYTES_PER_S = 500  # on average, after the time limit has passed once
WORDS_SHOWN = 200


class Unanswered(Exception):
    """A service gave no usable answer; the message says why.

    Attributes:
        again: asking again may help.
        status: the HTTP status, where there is one.
    """

    def __init__(self, reason: str, again: bool = False, status: int | None = None):
        super().__init__(reason)
        self.again, self.status = again, status


def commonest(reasons: Iterable[str]) -> str:
    """The reason that is given most often, and how often where there are others."""
    counts = Counter(reasons)
    ((reason, times),) = counts.most_common(1)
    return reason if len(counts) == 1 else f"{reason} ({times:,} of {counts.total():,})"


def asked_again(offline: bool) -> str:
    """What the next call does about questions without answer."""
    return f"The same command {'without --offline ' if offline else ''}asks for them again."


class NoSuchHost(Unanswered):
    """The name of the host has no address: a mistake in it, or no network. Nobody was asked."""


class Pace:
    """Lets at most `per_second` requests pass, whatever the number of threads."""

    def __init__(self, per_second: float):
        self.interval_s = 1 / per_second
        self._next, self._lock = 0.0, threading.Lock()

    def wait(self) -> None:
        """Return when it is this request's turn."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self.interval_s
        time.sleep(max(0.0, turn - time.monotonic()))


class _Patience(Retry):
    """Asks again when the service is busy, later each time, and no sooner than it says."""

    def get_retry_after(self, response) -> float | None:
        try:
            seconds = super().get_retry_after(response)
        except InvalidHeader:
            return None
        if seconds and seconds >= LONGEST_WAIT_S:
            raise Unanswered(
                f"busy: it asks not to be asked again for {response.headers['Retry-After']} s",
                again=False,
                status=response.status,
            )
        return seconds

    def sleep(self, response=None) -> None:
        if response is not None:
            wait = self.get_retry_after(response) or self.get_backoff_time()
            say(f"  the service is busy ({response.status}); asking again in {wait:.0f} s")
        super().sleep(response)


class _Bounded:
    """The body of an answer, given up when it grows too long or comes too slowly."""

    def __init__(self, raw, most_bytes: int, patience_s: float):
        self._raw, self._most, self._patience_s = raw, most_bytes, patience_s
        self._begun, self._bytes = time.monotonic(), 0

    def __getattr__(self, name):
        return getattr(self._raw, name)

    def stream(self, amt: int, decode_content: bool = True):
        # Whatever has come: to wait for `amt` bytes would be to wait for ever where they drip.
        while piece := self._raw.read1(amt, decode_content=decode_content):
            yield self._counted(piece)

    def read(self, *args, **kwargs) -> bytes:
        return self._counted(self._raw.read(*args, **kwargs))

    def _counted(self, piece: bytes) -> bytes:
        self._bytes += len(piece)
        if self._bytes > self._most:
            raise _too_long(self._bytes, self._most)
        seconds = time.monotonic() - self._begun
        if seconds > self._patience_s and self._bytes < SLOWEST_BYTES_PER_S * seconds:
            raise Unanswered(
                f"too slow: {self._bytes:,} bytes came in {seconds:,.0f} s", again=True
            )
        return piece


def _too_long(given: int, most: int) -> Unanswered:
    return Unanswered(
        f"its answer of {given / 2**20:,.0f} MiB or more is longer than the "
        f"{most / 2**20:,.0f} MiB that are taken"
    )


class _Adapter(HTTPAdapter):
    def __init__(self, session: "PoliteSession"):
        self._session = session
        super().__init__(max_retries=session.patience)

    def send(self, request, stream=False, timeout=None, **more):
        asked = self._session
        if asked.offline:
            raise Unanswered("not in the cache, and --offline was given")
        asked.pace.wait()
        response = super().send(request, stream=stream, timeout=timeout or asked.timeout_s, **more)
        most = asked.most_bytes
        given = response.headers.get("Content-Length", "")
        if given.isdecimal() and int(given) > most and response.status_code < 300:
            response.close()
            raise _too_long(int(given), most)
        response.raw = _Bounded(response.raw, most, asked.timeout_s)
        if response.status_code >= 400:
            raise _refusal(response)
        return response


def _refusal(response: requests.Response) -> Unanswered:
    """What the service said with its error: tags and white space removed, the first words."""
    said = re.sub(r"<[^>]*>|\s+", " ", _beginning(response)).split()
    words = " ".join(said)[:WORDS_SHOWN]
    code = response.status_code
    name = HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else "unknown status"
    reason = f"{code} {name}" + (f": {words}" if words else "")
    return Unanswered(reason, again=code in BUSY, status=code)


def _beginning(response: requests.Response) -> str:
    try:
        return next(response.iter_content(4096), b"").decode("utf-8", "replace")
    except (requests.RequestException, Unanswered):
        return ""
    finally:
        response.close()


class PoliteSession(requests.Session):
    """A session for one service; astroquery's and pyvo's classes take it as their own.

    Raises Unanswered for HTTP errors, and for answers that are too long or too slow. It follows
    few redirects, to web addresses only, and none from https to http.

    Args:
        services: how patient it is.
        per_second: requests a second, at most.
        most_bytes: longest answer that is taken.
        offline: send nothing at all.
    """

    def __init__(
        self,
        services: Services,
        per_second: float = 4,
        most_bytes: int = MAX_ANSWER_BYTES,
        offline: bool = False,
    ):
        super().__init__()
        self.pace, self.most_bytes, self.offline = Pace(per_second), most_bytes, offline
        self.timeout_s, self.retries = services.timeout_s, services.retries
        self.backoff_s = services.backoff_s
        self.patience = _Patience(
            total=self.retries,
            connect=0,  # what breaks is asked for again by `ask`, and not by both of them
            read=0,
            other=0,
            backoff_factor=self.backoff_s,
            backoff_max=LONGEST_WAIT_S,
            status_forcelist=BUSY,
            allowed_methods=None,  # a query sent by POST changes nothing over there
            raise_on_status=False,
            redirect=0,
        )
        self.max_redirects = MAX_REDIRECTS
        self.headers["User-Agent"] = (
            f"discovery/{discovery.__version__} ({requests.utils.default_user_agent()})"
        )
        # Nobody logs in: no service is told of the answers of another, nor threads of each other.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(self))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads; refused where it gives up encryption."""
        target = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https" and urlsplit(target).scheme == "http":
            raise Unanswered(f"redirected from https to {target[:WORDS_SHOWN]}, which is not safe")
        return target

    def ask(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`call(…)`, made again when there was no connection, or it broke half-way.

        Raises:
            Unanswered: for whatever kept the service from answering.
        """
        for attempt in range(self.retries + 1):
            try:
                return call(*args, **kwargs)
            except Exception as error:
                told = explained(error)
                # What is busy has been asked again already, below this.
                in_vain = told.status or isinstance(told, NoSuchHost)
                if attempt == self.retries or not told.again or in_vain:
                    raise told from error
                wait = min(self.backoff_s * 2**attempt, LONGEST_WAIT_S)
                say(f"  {told}; asking again in {wait:.0f} s")
                time.sleep(wait)
        raise AssertionError("unreachable")


def explained(error: Exception) -> Unanswered:
    """An error of requests, pyvo, astroquery or a parser, as the reason why there is no answer.

    Raises:
        the error itself, where it is no fault of the service.
    """
    if isinstance(error, (Unanswered, requests.RequestException)):
        return error if isinstance(error, Unanswered) else _of_connection(error)
    # pyvo and astroquery put errors of their own around those of the connection.
    for inner in (error.__cause__, error.__context__, getattr(error, "cause", None)):
        if isinstance(inner, (Unanswered, requests.RequestException)):
            return explained(inner)
    if isinstance(error, (BadInput, OSError, MemoryError, AssertionError)):
        raise error
    said = f"{type(error).__name__}: {error}"
    return Unanswered(f"its answer cannot be read ({said[:WORDS_SHOWN]})")


def _of_connection(error: requests.RequestException) -> Unanswered:
    if isinstance(error, requests.Timeout):
        return Unanswered("no answer in time", again=True)
    if isinstance(error, requests.TooManyRedirects):
        return Unanswered(f"redirected more than {MAX_REDIRECTS} times")
    if isinstance(error, (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)):
        return Unanswered(f"redirected to what is no web address: {str(error)[:WORDS_SHOWN]}")
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return Unanswered("the connection broke before the answer was complete", again=True)
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return Unanswered(f"its answer is no JSON ({str(error)[:WORDS_SHOWN]})")
    reason = _innermost(error)
    said = f"cannot be reached: {str(reason)[:WORDS_SHOWN]}"
    # Behind a proxy it is the proxy that has no address.
    if isinstance(getattr(reason, "original_error", reason), NameResolutionError):
        return NoSuchHost(f"{said}; is there a network?", again=True)
    return Unanswered(said, again=True)


def _innermost(error: BaseException) -> BaseException:
    return getattr(error.args[0], "reason", error) if error.args else error
