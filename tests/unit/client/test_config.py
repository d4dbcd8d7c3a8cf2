"""Where the server is and with which key, by options, environment and what this machine's server left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandlot import ConnectionConfig, InvalidArgumentException
from sandlot.discovery import DEFAULT_URL, find_local_server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SANDLOT_HOME", str(tmp_path))
    (tmp_path / "url").write_text("http://127.0.0.1:3456\n")
    (tmp_path / "key").write_text("e2b_local\n")
    return tmp_path


def test_without_any_settings_this_machines_server_is_found(home: Path) -> None:
    config = ConnectionConfig()
    assert (config.api_url, config.api_key) == ("http://127.0.0.1:3456", "e2b_local")
    assert config.get_sandbox_url("i", config.domain) == "http://127.0.0.1:3456"
    assert config.get_host("i", config.domain, 80) == "80-i.e2b.localhost:3456"
    assert config.get_sandbox_direct_url("i", config.domain) == "http://49983-i.e2b.localhost:3456"


def test_a_home_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDLOT_HOME", str(tmp_path))
    assert find_local_server() == (str(tmp_path), DEFAULT_URL, None)
    monkeypatch.delenv("SANDLOT_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_local_server().home == str(tmp_path / ".local/share/sandlot")


def test_the_local_key_is_for_the_local_server_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ConnectionConfig(api_url="http://127.0.0.1:3456/").api_key == "e2b_local"
    assert ConnectionConfig(api_url="http://127.0.0.1:9999").api_key is None
    assert ConnectionConfig(domain="e2b.example").api_key is None
    monkeypatch.setenv("E2B_DOMAIN", "e2b.example")
    assert ConnectionConfig().api_key is None


def test_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2B_API_URL", "http://a:1/")
    monkeypatch.setenv("E2B_SANDBOX_URL", "http://b:2/")
    monkeypatch.setenv("E2B_API_KEY", "k")
    config = ConnectionConfig()
    assert (config.api_url, config.api_key) == ("http://a:1", "k")
    assert config.get_sandbox_url("i", "x") == config.get_sandbox_direct_url("i", "x") == "http://b:2"
    config = ConnectionConfig(api_url="http://c:3", sandbox_url="http://d:4", api_key="l")
    assert (config.api_url, config.get_sandbox_url("i", "x"), config.api_key) == ("http://c:3", "http://d:4", "l")


def test_a_domain(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2B_DOMAIN", "e2b.localhost:3443")
    config = ConnectionConfig(api_key="k")
    assert config.api_url == "https://api.e2b.localhost:3443"
    assert config.get_sandbox_url("i", config.domain) == "https://49983-i.e2b.localhost:3443"
    assert config.get_sandbox_url("i", config.domain, 80) == "https://80-i.e2b.localhost:3443"
    assert config.get_host("i", config.domain, 80) == "80-i.e2b.localhost:3443"
    assert config.host_scheme == "https"


def test_debug_is_an_agent_without_an_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2B_DEBUG", "True")
    config = ConnectionConfig()
    assert config.api_url == "http://localhost:3000"
    assert config.get_sandbox_url("i", config.domain) == "http://localhost:49983"
    assert config.get_sandbox_direct_url("i", config.domain, 80) == "http://localhost:80"
    assert ConnectionConfig(debug=False).get_host("i", "x", 80) == "80-i.x"


def test_timeouts() -> None:
    assert ConnectionConfig().get_request_timeout() == 60
    assert ConnectionConfig().get_request_timeout(0) is None
    assert ConnectionConfig(request_timeout=0).get_request_timeout() is None
    assert ConnectionConfig(request_timeout=5).get_request_timeout(7) == 7


def test_options_go_on_to_further_calls() -> None:
    config = ConnectionConfig(
        domain="d", api_key="k", request_timeout=0, headers={"A": "1"}, retries=0, proxy="http://p"
    )
    again = ConnectionConfig(**config.get_api_params(api_key="l", headers={"B": "2"}, retries=None))
    assert (again.domain, again.api_url, again.api_key, again.proxy) == ("d", "https://api.d", "l", "http://p")
    assert (again.request_timeout, again.retries) == (None, 0)
    assert again.headers == {**config.headers, "A": "1", "B": "2"}


def test_headers() -> None:
    config = ConnectionConfig(
        headers={"A": "1", "User-Agent": "me"}, api_headers={"A": "2"}, extra_sandbox_headers={"S": "3"}
    )
    assert config.headers == {"A": "2", "User-Agent": "me"}
    assert config.sandbox_headers == {"User-Agent": "me", "S": "3"}


@pytest.mark.parametrize("retries", [-1, True, 1.5, "3"])
def test_retries_that_are_none(retries: object) -> None:
    with pytest.raises(InvalidArgumentException, match="retries"):
        ConnectionConfig(retries=retries)  # type: ignore[arg-type]
