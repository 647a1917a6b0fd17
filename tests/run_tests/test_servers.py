"""Private servers really start, let us in by their password alone, and are gone afterwards; addresses are kept safe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import services
from tests._run import processes, results, servers
from tests._run.debian import Debian, _services_stay_off
from tests._run.provide import Provider
from tests.services import Address, Found, Missing

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = [key for key, recipe in servers.RECIPES.items() if recipe.programs()]
for absent in servers.RECIPES.keys() - set(INSTALLED):
    results.note_untested(f"a private {servers.RECIPES[absent].title}", "it is not installed")


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    env = {n: v for n, v in processes.clean_environment(os.environ).items() if not n.startswith("TEST_")}
    made = Provider(
        Path(sys.executable), ROOT, tmp_path, env, Debian(False, tmp_path / "apt.log", env), only_private=True
    )
    yield made
    made.close()


@pytest.mark.parametrize("key", INSTALLED)
def test_private_server_works_and_leaves_nothing(key: str, provider: Provider) -> None:
    found = provider.provide(key)
    assert isinstance(found, Found), found
    assert found.origin.startswith("private, 127.0.0.1:")
    assert provider.env[services.SERVICES[key].variable] == found.address
    [server] = provider.started
    with pytest.raises(Exception, match=r"(?i)password|denied|auth"):
        services.SERVICES[key].examine(found.address.replace(Address.parse(found.address).password, "wrong"))
    provider.close()
    assert server.has_ended()
    assert not server.folder.exists()


def test_server_that_cannot_start_says_what_it_printed(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'no room on this machine'; exit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tmp_path.chmod(0o755)
    found = provider.provide("redis")
    assert isinstance(found, Missing)
    assert "a private one did not start" in found.why
    assert provider.started == []


def test_server_that_runs_is_taken_once_its_extension_is_installed(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed: list[str] = []
    running = Found("postgres://postgres@127.0.0.1/", "here", "3.3")
    monkeypatch.setattr(servers, "RECIPES", {"postgis": replace(servers.RECIPES["postgis"], programs=lambda: None)})
    monkeypatch.setattr(Debian, "install", lambda self, *packages: installed.extend(packages))
    monkeypatch.setattr(Provider, "_look", lambda *_, here: running if installed else Missing("no extension"))
    assert provider.provide("postgis") is running
    assert installed == ["postgresql-postgis"]
    assert provider.env["TEST_POSTGIS_URL"] == running.address
    assert provider.started == []


def test_given_address_that_does_not_work_is_a_mistake_and_nothing_is_started(provider: Provider) -> None:
    provider.env["TEST_REDIS_URL"] = "redis://:secret@127.0.0.1:1/"
    found = provider.provide("redis")
    assert isinstance(found, Missing)
    assert found.is_mistake
    assert "TEST_REDIS_URL=redis://:...@127.0.0.1:1/ does not work" in found.why
    assert provider.started == []


@pytest.mark.parametrize(
    "url",
    ["postgres://me:p%40ss%2F@[::1]:6543/shop", "mysql://root@localhost:3306/", "redis://:pw@127.0.0.1:6379/3"],
)
def test_address_survives_reading_and_writing(url: str) -> None:
    assert Address.parse(url).url == url


@pytest.mark.parametrize("url", ["", "127.0.0.1:5432", "oracle://x/y"])
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match="write scheme://"):
        Address.parse(url)


def test_scratch_databases_are_empty_and_dropped(redis_url: str, postgres_url: str, mysql_url: str) -> None:
    assert Address.parse(redis_url).database.isdigit()
    for url in (postgres_url, mysql_url):
        assert Address.parse(url).database.startswith("wsgiperf_")


def test_two_runs_get_two_redis_databases(redis_url: str) -> None:
    with services.scratch_redis() as other:
        assert other.url != redis_url


def test_services_stay_off_while_packages_are_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with _services_stay_off(policy):
        assert os.access(policy, os.X_OK)
    assert not policy.exists()
    policy.write_text("mine", encoding="utf-8")
    with _services_stay_off(policy):
        assert policy.read_text(encoding="utf-8") == "mine"
    assert policy.exists()
