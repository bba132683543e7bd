import pytest

from discovery.fetch import known, names
from discovery.fetch.services import VARIABLE, Services, read_services
from tests.fetch.httpd import Server


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture
def services(server, tmp_path, monkeypatch):
    """All services at the local server, each under its own name, and less patience; a new cache.

    NED and VizieR are asked faster, for this server has no other guests.
    """
    monkeypatch.setattr(names, "NED_PER_SECOND", 20)
    monkeypatch.setattr(known, "PER_SECOND", 20)
    path = tmp_path / "services.toml"
    fields = Services.model_fields.items()
    addresses = [f'{name} = "{server.url}/{name}"' for name, f in fields if f.annotation is str]
    path.write_text("\n".join([*addresses, "timeout_s = 2", "retries = 2", "backoff_s = 0.01"]))
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read_services()
