"""Many positions, asked of a service in chunks."""

from collections.abc import Callable, Iterator

from astropy.table import Table

from discovery.errors import BadInput
from discovery.fetch.session import Unanswered
from discovery.fetch.targets import Target
from discovery.progress import track

DOWN_AFTER = 3  # questions in a row


def ask_in_chunks(
    service: str, targets: list[Target], size: int, ask: Callable[[list[Target]], Table]
) -> Iterator[tuple[list[Target], Table | Unanswered]]:
    """(targets, their table or why there is none), `size` targets at a time.

    Raises:
        BadInput: the service does not answer at all.
    """
    in_a_row = 0
    for start in track(range(0, len(targets), size), service, len(targets), "positions", size):
        chunk = targets[start : start + size]
        try:
            found, in_a_row = ask(chunk), 0
        except Unanswered as error:
            found, in_a_row = error, in_a_row + error.again
        if in_a_row == DOWN_AFTER:
            raise BadInput(
                f"{service} did not answer {DOWN_AFTER} times in a row, the last time: "
                f"{found}. What it said before is kept, and the same command goes on there."
            )
        yield chunk, found
