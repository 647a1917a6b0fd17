"""The WSGIPERF setting: where values come from, what is refused in which words, how values are shown."""

from __future__ import annotations

import argparse
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand
from django.test import RequestFactory, override_settings
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf import conf
from django_wsgiperf._conf_errors import Refused
from django_wsgiperf._conf_options import Kind, Section, option
from django_wsgiperf._conf_values import cpu_quota, read_text, read_value, show
from django_wsgiperf.conf import ConfigurationError, Problem, ProblemKind, ServerSettings, Source

OPTIONS = {entry.name: entry for entry in conf.options()}
SECRET = "hunter2hunter2hunter2"


@pytest.fixture(autouse=True)
def _a_clean_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in os.environ:
        if name.startswith("WSGIPERF_"):
            monkeypatch.delenv(name)
    conf.forget()
    yield
    conf.forget()


def loaded(
    *,
    cli: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    server: object = None,
) -> conf.Resolved[ServerSettings]:
    """Load with nothing from outside: `server` is WSGIPERF["SERVER"]."""
    setting: dict[str, object] = {} if server is None else {"SERVER": server}
    return conf.load(cli=cli, environ=environ or {}, settings=setting)


def problems(
    *,
    cli: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Any = None,
    section: str = "SERVER",
) -> list[Problem]:
    with pytest.raises(ConfigurationError) as caught:
        conf.load(section, cli=cli, environ=environ or {}, settings=settings or {})
    return list(caught.value.problems)


def problem(**layers: Any) -> Problem:
    (only,) = problems(**layers)
    return only


def server_problem(**keys: object) -> Problem:
    return problem(settings={"SERVER": keys})


def parsed(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    conf.add_arguments(parser)
    return conf.from_namespace(parser.parse_args(arguments))


class TestPrecedence:
    def test_a_default_is_used_when_nothing_is_set(self) -> None:
        resolved = loaded()
        assert resolved.values == ServerSettings()
        assert {str(origin) for origin in resolved.origins.values()} == {"default"}

    def test_settings_win_over_the_default(self) -> None:
        resolved = loaded(server={"THREADS": 12})
        assert resolved.values.threads == 12
        assert str(resolved.origins["threads"]) == "settings (WSGIPERF['SERVER']['THREADS'])"

    def test_the_environment_wins_over_settings(self) -> None:
        resolved = loaded(environ={"WSGIPERF_THREADS": "13"}, server={"THREADS": 12})
        assert resolved.values.threads == 13
        assert str(resolved.origins["threads"]) == "environment (WSGIPERF_THREADS)"

    def test_the_command_line_wins_over_the_environment(self) -> None:
        resolved = loaded(cli={"threads": "14"}, environ={"WSGIPERF_THREADS": "13"}, server={"THREADS": 12})
        assert resolved.values.threads == 14
        assert str(resolved.origins["threads"]) == "command line (--threads)"

    def test_each_value_has_its_own_origin(self) -> None:
        resolved = loaded(cli={"reload": False, "bind": ["a:1"]}, environ={"WSGIPERF_BACKLOG": "5"})
        assert str(resolved.origins["reload"]) == "command line (--no-reload)"
        assert str(resolved.origins["bind"]) == "command line (addresses)"
        assert resolved.origins["backlog"].source is Source.ENVIRONMENT
        assert resolved.origins["threads"].source is Source.DEFAULT

    def test_a_wrong_value_is_reported_also_where_another_layer_overrides_it(self) -> None:
        found = problem(cli={"threads": "4"}, settings={"SERVER": {"THREADS": "twelve"}})
        assert found.origin.source is Source.SETTINGS

    def test_every_option_can_be_set_in_every_layer(self) -> None:
        for entry in conf.options():
            if entry.kind is Kind.TEXT and not entry.choices:
                continue
            text = "auto" if entry.auto else show(entry, entry.default)
            by_environment = loaded(environ={entry.environment_name: text})
            by_command_line = loaded(cli={entry.name: text})
            by_settings = loaded(server={entry.key: entry.default})
            assert by_environment.origins[entry.name].source is Source.ENVIRONMENT
            assert by_command_line.origins[entry.name].source is Source.COMMAND_LINE
            assert by_settings.origins[entry.name].source is Source.SETTINGS


class TestUnknownNames:
    def test_unknown_key_names_the_nearest(self) -> None:
        found = server_problem(THRAEDS=12)
        assert (found.kind, found.key, found.nearest) == (ProblemKind.UNKNOWN, "THRAEDS", "THREADS")
        assert "WSGIPERF['SERVER']" in found.message
        assert found.remedy == "write THREADS"

    def test_lower_case_key_is_told_its_capitals(self) -> None:
        assert server_problem(threads=12).remedy == "write THREADS"

    def test_lower_case_section_is_told_its_capitals(self) -> None:
        assert problem(settings={"server": {}}).remedy == "write SERVER"

    def test_unknown_section_names_the_nearest(self) -> None:
        found = problem(settings={"SERVRE": {"THREADS": 12}})
        assert (found.key, found.nearest) == ("SERVRE", "SERVER")
        assert "there is no such section" in found.message

    def test_a_key_outside_its_section_is_told_its_section(self) -> None:
        assert problem(settings={"THREADS": 12}).remedy == "write WSGIPERF = {'SERVER': {'THREADS': ...}}"

    def test_a_key_near_to_nothing_is_told_to_go(self) -> None:
        found = server_problem(COLOUR="blue")
        assert found.nearest is None
        assert found.remedy == "remove it; no name that there is comes near to it"

    def test_a_key_that_is_no_text_is_refused(self) -> None:
        found = problem(settings={"SERVER": {12: 12}})
        assert (found.kind, found.key) == (ProblemKind.UNKNOWN, "12")

    def test_unknown_environment_variable_names_the_nearest(self) -> None:
        found = problem(environ={"WSGIPERF_SERVER_THREADS": "12"})
        assert (found.key, found.nearest) == ("WSGIPERF_SERVER_THREADS", "WSGIPERF_THREADS")

    def test_prefix_of_environment_variables_brings_none_nearer(self) -> None:
        assert problem(environ={"WSGIPERF_FOO": "1"}).nearest is None
        assert problem(environ={"WSGIPERF_TREADS": "1"}).nearest == "WSGIPERF_THREADS"

    def test_unknown_command_line_name_is_refused(self) -> None:
        assert problem(cli={"thraeds": 12}).nearest == "THREADS"

    def test_internal_environment_variables_are_left_alone(self) -> None:
        assert loaded(environ={"WSGIPERF__RELOAD_CHILD": "1"}).values == ServerSettings()

    def test_other_environment_variables_are_left_alone(self) -> None:
        assert loaded(environ={"WSGIPERFORMANCE": "1", "PATH": "/bin"}).values == ServerSettings()

    def test_what_kubernetes_says_about_a_service_of_that_name_is_left_alone(self) -> None:
        links = {
            "WSGIPERF_SERVICE_HOST": "10.0.0.7",
            "WSGIPERF_SERVICE_PORT": "80",
            "WSGIPERF_SERVICE_PORT_HTTP": "80",
            "WSGIPERF_PORT": "tcp://10.0.0.7:80",
            "WSGIPERF_PORT_80_TCP": "tcp://10.0.0.7:80",
            "WSGIPERF_PORT_80_TCP_ADDR": "10.0.0.7",
            "WSGIPERF_SHOP_SERVICE_HOST": "10.0.0.8",
        }
        assert loaded(environ=links).values == ServerSettings()

    def test_a_port_that_a_person_wrote_is_not_taken_for_kubernetes(self) -> None:
        assert problem(environ={"WSGIPERF_PORT": "8000"}).kind is ProblemKind.UNKNOWN

    def test_the_value_of_an_unknown_name_is_not_shown(self) -> None:
        for found in (server_problem(STATS_TOKN=SECRET), problem(environ={"WSGIPERF_STATS_TOKN": SECRET})):
            assert SECRET not in repr(found)


class TestTypes:
    @pytest.mark.parametrize("value", ["12", 12.0, True, None, [12]])
    def test_a_whole_number_is_nothing_else(self, value: object) -> None:
        found = server_problem(THREADS=value)
        assert (found.kind, found.key) == (ProblemKind.TYPE, "THREADS")
        assert repr(value) in found.message

    def test_a_number_in_quotes_is_told_to_drop_them(self) -> None:
        assert server_problem(THREADS="12").remedy == "write 12, without quotes"
        assert server_problem(KEEPALIVE_S="500ms").remedy == "write 0.5, without quotes"
        assert server_problem(BODY_BYTES="1 KiB").remedy == "write 1024, without quotes"
        assert server_problem(RELOAD="yes").remedy == "write True, without quotes"

    @pytest.mark.parametrize("value", [1, 0, "true", None])
    def test_a_truth_value_is_nothing_else(self, value: object) -> None:
        assert server_problem(RELOAD=value).kind is ProblemKind.TYPE

    def test_a_text_for_a_list_is_told_the_comma(self) -> None:
        assert server_problem(BIND="127.0.0.1:8000").remedy == "write ('127.0.0.1:8000',)"

    def test_a_list_is_taken_for_a_tuple(self) -> None:
        assert loaded(server={"BIND": ["a:1", "b:2"]}).values.bind == ("a:1", "b:2")

    def test_a_list_of_something_else_is_refused(self) -> None:
        assert server_problem(BIND=[8000]).kind is ProblemKind.TYPE

    def test_an_empty_text_in_a_list_is_refused(self) -> None:
        """What `os.environ.get("NOT_KEPT", "").split(",")` gives would exclude every path."""
        found = problem(settings={"CACHE": {"EXCLUDE": ["/account/", ""]}}, section="CACHE")
        assert (found.kind, found.key) == (ProblemKind.FORMAT, "EXCLUDE")
        assert found.remedy == "write ('/account/',)"

    def test_a_whole_number_is_taken_for_a_time(self) -> None:
        value = loaded(server={"KEEPALIVE_S": 5}).values.keepalive_s
        assert (value, type(value)) == (5.0, float)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
    def test_a_time_is_finite(self, value: float) -> None:
        found = server_problem(KEEPALIVE_S=value)
        assert found.kind is ProblemKind.TYPE
        assert "not a finite number" in found.message

    def test_a_file_may_be_a_path_object(self, tmp_path: Path) -> None:
        assert loaded(server={"PID_FILE": tmp_path / "pid"}).values.pid_file == str(tmp_path / "pid")

    def test_a_path_object_is_no_other_text(self) -> None:
        assert server_problem(LIVE_PATH=Path("/live")).kind is ProblemKind.TYPE

    @pytest.mark.parametrize("setting", [["SERVER"], "SERVER", 12])
    def test_the_setting_is_a_dictionary(self, setting: object) -> None:
        found = problem(settings=setting)
        assert (found.kind, found.key) == (ProblemKind.TYPE, "WSGIPERF")
        assert "{'SERVER': {'THREADS': 12}}" in found.remedy

    def test_a_section_is_a_dictionary(self) -> None:
        found = problem(settings={"SERVER": "THREADS=12"})
        assert (found.kind, found.key) == (ProblemKind.TYPE, "SERVER")
        assert "THREADS=12" not in str(found)


class TestLimits:
    def test_below_the_range_names_both_ends(self) -> None:
        found = server_problem(THREADS=0)
        assert found.kind is ProblemKind.RANGE
        assert found.message == "0 is below the smallest value, 1"
        assert found.remedy == "write a whole number from 1 to 1_024"

    def test_above_the_range(self) -> None:
        assert server_problem(THREADS=1025).message == "1025 is above the largest value, 1024"

    @pytest.mark.parametrize("value", [2**63, 10**5000, -(10**5000)], ids=["64 bits", "long", "negative"])
    def test_a_number_that_no_machine_counts_to(self, value: int) -> None:
        assert server_problem(BODY_BYTES=value).kind is ProblemKind.RANGE
        assert server_problem(BIND=[value]).kind is ProblemKind.TYPE

    def test_a_negative_size(self) -> None:
        assert server_problem(BODY_BYTES=-1).kind is ProblemKind.RANGE

    def test_a_time_has_a_largest_value_that_timers_can_hold(self) -> None:
        assert server_problem(KEEPALIVE_S=1e12).message == "1000000000000 s is above the largest value, 86400 s"

    def test_a_choice_names_the_nearest(self) -> None:
        found = server_problem(LOG_LEVEL="warn")
        assert (found.kind, found.remedy) == (ProblemKind.RANGE, "write 'warning'")

    def test_a_choice_near_to_nothing_names_all(self) -> None:
        assert server_problem(ACCESS_LOG="apache").remedy == "write one of 'off', 'combined', 'json'"

    def test_no_address_at_all_is_refused(self) -> None:
        assert server_problem(BIND=()).kind is ProblemKind.RANGE

    def test_defaults_keep_to_their_own_limits(self) -> None:
        for entry in conf.options():
            assert read_value(entry, entry.default) == entry.default


class TestWorkers:
    @pytest.mark.parametrize(
        "layer",
        [
            {"server": {"WORKERS": "auto"}},
            {"environ": {"WSGIPERF_WORKERS": "AUTO"}},
            {"cli": {"workers": "auto"}},
        ],
    )
    def test_auto_is_one_for_each_core_that_may_be_used(self, layer: dict[str, Any]) -> None:
        resolved = loaded(**layer)
        assert resolved.values.workers == conf.cpu_cores() >= 1
        assert resolved.origins["workers"].source is not Source.DEFAULT

    @pytest.mark.parametrize(
        ("membership", "limits", "cores"),
        [
            ("0::/\n", {"": "150000 100000"}, 1.5),
            ("0::/\n", {"": "max 100000"}, 1e6),
            ("0::/system.slice/site.service\n", {"system.slice": "400000 100000"}, 4),
            ("0::/a/b\n", {"a": "400000 100000", "a/b": "50000 100000"}, 0.5),
            ("4:memory:/a\n", {}, 1e6),
            ("0::/\n", {"": "nonsense"}, 1e6),
        ],
    )
    def test_limit_of_a_container_counts(
        self, tmp_path: Path, membership: str, limits: dict[str, str], cores: float
    ) -> None:
        (tmp_path / "membership").write_text(membership)
        for folder, limit in limits.items():
            (tmp_path / "cgroup" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "cgroup" / folder / "cpu.max").write_text(limit + "\n")
        assert cpu_quota(tmp_path / "cgroup", tmp_path / "membership") == cores

    @pytest.mark.parametrize(
        ("membership", "limits", "cores"),
        [
            ("4:cpu,cpuacct:/\n0::/\n", {"": "150000"}, 1.5),
            ("4:cpu,cpuacct:/\n", {"": "-1"}, 1e6),
            ("7:memory:/a\n4:cpu:/docker/4711\n", {"": "200000"}, 2),
            ("4:cpu:/system.slice/site.service\n", {"": "-1", "system.slice": "400000"}, 4),
            ("4:cpuset:/\n", {"": "100000"}, 1e6),
        ],
    )
    def test_limit_of_a_container_on_an_older_host_counts(
        self, tmp_path: Path, membership: str, limits: dict[str, str], cores: float
    ) -> None:
        (tmp_path / "membership").write_text(membership)
        for folder, quota in limits.items():
            (tmp_path / "cgroup" / "cpu" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "cgroup" / "cpu" / folder / "cpu.cfs_quota_us").write_text(quota + "\n")
            (tmp_path / "cgroup" / "cpu" / folder / "cpu.cfs_period_us").write_text("100000\n")
        assert cpu_quota(tmp_path / "cgroup", tmp_path / "membership") == cores

    def test_auto_is_for_workers_only(self) -> None:
        assert server_problem(THREADS="auto").kind is ProblemKind.TYPE
        assert 'or "auto"' in server_problem(WORKERS="many").remedy


class TestChoices:
    def test_each_entry_of_a_list_is_one_of_the_choices(self) -> None:
        assert loaded(environ={"WSGIPERF_READY_CHECKS": "cache, database"}).values.ready_checks == ("cache", "database")
        assert loaded(environ={"WSGIPERF_READY_CHECKS": ""}).values.ready_checks == ()
        found = server_problem(READY_CHECKS=["database", "migration"])
        assert found.kind is ProblemKind.RANGE
        assert "'migration' is not among the choices" in found.message
        assert found.remedy == "write 'migrations'"


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1:8000", "0.0.0.0:0", "localhost:65535", "[::1]:8000", "[fe80::1%eth0]:80",
            "my-host.example.:80", "web_1:80", "unix:/run/site.sock", "unix:site.sock", "fd://3",
        ],
    )  # fmt: skip
    def test_valid(self, address: str) -> None:
        assert loaded(server={"BIND": (address,)}).values.bind == (address,)

    @pytest.mark.parametrize(
        ("address", "remedy"),
        [
            ("8000", "'127.0.0.1:8000'"), (":8000", "'0.0.0.0:8000'"), ("localhost", "host:port"),
            ("localhost:", "port from"), ("localhost:http", "port from"), ("localhost:65536", "port from"),
            ("localhost:-1", "port from"), ("::1:8000", "'[::1]:8000'"), ("[::g]:8000", "'[::1]:8000'"),
            ("[]:80", "'[::1]:80'"), ("300.0.0.1:80", "'0.0.0.0:80'"), ("a b:80", "host:port"),
            ("http://localhost:80", "host:port"), ("unix:", "unix:/run"), ("fd://", "fd://3"),
            ("fd://x", "fd://3"), ("", "'127.0.0.1:8000'"), ("localhost:٣", "port from"),
        ],
    )  # fmt: skip
    def test_invalid_says_what_to_write(self, address: str, remedy: str) -> None:
        found = server_problem(BIND=(address,))
        assert found.kind is ProblemKind.FORMAT
        assert remedy in found.remedy

    def test_the_same_address_twice_is_refused(self) -> None:
        found = server_problem(BIND=("a:1", "b:1", "a:1"))
        assert found.kind is ProblemKind.CONFLICT
        assert "'a:1' is listed twice" in found.message

    def test_two_free_ports_are_two_addresses(self) -> None:
        assert len(loaded(server={"BIND": ("localhost:0", "localhost:0")}).values.bind) == 2


class TestNetworks:
    @pytest.mark.parametrize("network", ["10.0.0.0/8", "10.0.0.1", "::1", "fd00::/8", "unix", "0.0.0.0/0"])
    @pytest.mark.parametrize("key", ["TRUSTED_PROXIES", "STATS_ALLOW"])
    def test_valid(self, key: str, network: str) -> None:
        assert getattr(loaded(server={key: (network,)}).values, key.lower()) == (network,)

    @pytest.mark.parametrize(
        ("network", "remedy"),
        [
            ("10.0.0.1/8", "'10.0.0.0/8'"),
            ("*", "'0.0.0.0/0'"),
            ("proxy.local", "'unix'"),
            ("10.0.0.0/33", "a network"),
        ],
    )
    def test_invalid_says_what_to_write(self, network: str, remedy: str) -> None:
        found = server_problem(TRUSTED_PROXIES=[network])
        assert found.kind is ProblemKind.FORMAT
        assert remedy in found.remedy


class TestPathsAndFiles:
    def test_an_empty_path_turns_a_page_off(self) -> None:
        values = loaded(server={"LIVE_PATH": "", "READY_PATH": ""}).values
        assert (values.live_path, values.ready_path) == ("", "")

    @pytest.mark.parametrize(
        ("path", "remedy"),
        [
            ("live", "'/live'"),
            ("/a?b", "letters"),
            ("/a b", "letters"),
            ("/a#b", "letters"),
            ("/\xe9", "letters"),
        ],
    )
    def test_a_path_is_plain_and_begins_with_a_slash(self, path: str, remedy: str) -> None:
        found = server_problem(LIVE_PATH=path)
        assert found.kind is ProblemKind.FORMAT
        assert remedy in found.remedy

    def test_two_pages_cannot_share_a_path(self) -> None:
        found = server_problem(STATS_PATH="/-/live")
        assert (found.kind, found.key) == (ProblemKind.CONFLICT, "STATS_PATH")
        assert "LIVE_PATH is /-/live, default" in found.message

    def test_a_certificate_that_is_not_there(self, tmp_path: Path) -> None:
        first, second = problems(settings={"SERVER": {"CERTFILE": "no.pem", "KEYFILE": str(tmp_path)}})
        assert (first.kind, first.key) == (ProblemKind.FORMAT, "CERTFILE")
        assert "there is no file 'no.pem'" in first.message
        assert second.key == "KEYFILE"

    @pytest.mark.parametrize(("given", "lacking"), [("CERTFILE", "KEYFILE"), ("KEYFILE", "CERTFILE")])
    def test_a_certificate_needs_its_key_and_the_reverse(self, given: str, lacking: str, tmp_path: Path) -> None:
        (tmp_path / "x.pem").touch()
        found = server_problem(**{given: str(tmp_path / "x.pem")})
        assert (found.kind, found.key) == (ProblemKind.CONFLICT, given)
        assert found.remedy == f"set {lacking} too, or neither"

    def test_a_certificate_and_its_key(self, tmp_path: Path) -> None:
        (tmp_path / "x.pem").touch()
        both = {"CERTFILE": tmp_path / "x.pem", "KEYFILE": tmp_path / "x.pem"}
        assert loaded(server=both).values.certfile == str(tmp_path / "x.pem")

    def test_a_folder_has_to_be_there_and_absolute(self, tmp_path: Path) -> None:
        assert loaded(server={"CONTROL_DIR": tmp_path}).values.control_dir == str(tmp_path)
        assert loaded(server={"CONTROL_DIR": ""}).values.control_dir == ""
        assert problem(settings={"SERVER": {"CONTROL_DIR": str(tmp_path / "none")}}).message.startswith(
            "there is no folder"
        )
        assert "is not absolute" in problem(settings={"SERVER": {"CONTROL_DIR": "run"}}).message

    @pytest.mark.parametrize("good", ["", "http://localhost:4318/v1/metrics", "https://[::1]/x", "http://10.0.0.1"])
    def test_an_address_of_a_service_is_taken(self, good: str) -> None:
        found = conf.load("METRICS", environ={}, settings={"METRICS": {"OTLP_ENDPOINT": good}})
        assert found.values.otlp_endpoint == good

    @pytest.mark.parametrize(
        "bad", ["localhost:4318", "ftp://host/", "http://", "http://host:port/", "http://a b/", "http://u:hush@host/"]
    )
    def test_an_address_that_is_none_is_refused_and_no_password_shown(self, bad: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            conf.load("METRICS", environ={}, settings={"METRICS": {"OTLP_ENDPOINT": bad}})
        assert "hush" not in str(caught.value)

    def test_a_file_to_write_needs_its_folder(self, tmp_path: Path) -> None:
        assert "no folder" in server_problem(PID_FILE=str(tmp_path / "no" / "pid")).message
        assert "cannot be a file" in server_problem(ACCESS_LOG_FILE=str(tmp_path)).message

    def test_a_token_must_fit_in_a_header(self) -> None:
        found = server_problem(STATS_TOKEN=SECRET + " \n")
        assert found.kind is ProblemKind.FORMAT
        assert SECRET not in repr(found)


class TestConflicts:
    def test_the_proxy_protocol_needs_trusted_proxies(self) -> None:
        found = problem(cli={"proxy_protocol": True})
        assert (found.kind, found.key) == (ProblemKind.CONFLICT, "PROXY_PROTOCOL")
        assert "TRUSTED_PROXIES is empty, default" in found.message
        assert str(found.origin) == "command line (--proxy-protocol)"

    def test_two_kinds_of_forwarding_headers(self) -> None:
        found = server_problem(PROXY_HEADERS=["forwarded", "x-forwarded-for"])
        assert (found.kind, found.key) == (ProblemKind.CONFLICT, "PROXY_HEADERS")
        assert loaded(server={"PROXY_HEADERS": ["forwarded"]}).values.proxy_headers == ("forwarded",)

    def test_the_option_that_was_set_is_blamed_not_the_default(self) -> None:
        found = problem(environ={"WSGIPERF_QUEUE_DEADLINE_S": "500ms"})
        assert (found.key, found.value) == ("QUEUE_DEADLINE_S", "0.5 s")
        assert "QUEUE_STANDING_DEADLINE_S is 5 s, default" in found.message

    def test_a_standing_queue_may_wait_as_long_as_a_short_lived_one(self) -> None:
        loaded(server={"QUEUE_DEADLINE_S": 2, "QUEUE_STANDING_DEADLINE_S": 2})
        assert server_problem(QUEUE_STANDING_DEADLINE_S=40).key == "QUEUE_STANDING_DEADLINE_S"

    def test_a_wrong_value_is_not_also_a_conflict(self) -> None:
        assert server_problem(QUEUE_DEADLINE_S="soon", QUEUE_STANDING_DEADLINE_S=20).kind is ProblemKind.TYPE

    def test_jitter_alone_is_allowed(self) -> None:
        assert loaded(server={"MAX_REQUESTS_JITTER": 5}).values.max_requests_jitter == 5


class TestTheError:
    def test_all_problems_are_told_at_once(self) -> None:
        found = problems(
            cli={"backlog": "x"},
            environ={"WSGIPERF_THREADS": "0", "WSGIPERF_THRAEDS": "5"},
            settings={"SERVER": {"RELOAD": 1}, "SRV": {}},
        )
        assert [entry.key for entry in found] == ["SRV", "RELOAD", "THREADS", "WSGIPERF_THRAEDS", "BACKLOG"]

    def test_it_is_printed_with_value_origin_and_remedy(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            loaded(environ={"WSGIPERF_THREADS": "0"})
        assert str(caught.value) == (
            "The WSGIPERF configuration has 1 problem:\n"
            "THREADS: 0 is below the smallest value, 1\n"
            "    set by:  environment (WSGIPERF_THREADS)\n"
            "    instead: write a whole number from 1 to 1_024"
        )

    def test_it_is_what_django_raises_for_wrong_settings(self) -> None:
        assert issubclass(ConfigurationError, ImproperlyConfigured)

    def test_it_survives_a_process_boundary(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            loaded(server={"THREADS": 0})
        assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems

    def test_a_long_value_is_cut(self) -> None:
        assert len(str(server_problem(THREADS="1" * 10_000))) < 400


class TestSecrets:
    def test_a_secret_is_masked_where_the_configuration_is_printed(self) -> None:
        resolved = loaded(server={"STATS_TOKEN": SECRET})
        row = next(row for row in conf.describe(resolved) if row.key == "STATS_TOKEN")
        assert row.value == conf.MASK
        assert SECRET not in repr(conf.describe(resolved))
        assert resolved.values.stats_token == SECRET

    def test_a_secret_is_not_in_a_repr(self) -> None:
        resolved = loaded(server={"STATS_TOKEN": SECRET})
        assert SECRET not in repr(resolved)
        assert SECRET not in str(resolved.values)

    @pytest.mark.parametrize("value", [[SECRET], SECRET.encode(), SECRET + " "])
    def test_a_wrong_secret_is_not_in_the_error(self, value: object) -> None:
        with pytest.raises(ConfigurationError) as caught:
            loaded(server={"STATS_TOKEN": value, "THREADS": 0})
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value.problems)

    @override_settings(DEBUG=True, WSGIPERF={"SERVER": {"STATS_TOKEN": SECRET, "THREADS": 0}})
    def test_a_secret_is_not_on_djangos_error_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSGIPERF_STATS_TOKEN", SECRET + "2")
        conf.forget()
        try:
            conf.server_settings()
        except ConfigurationError:
            reporter = ExceptionReporter(RequestFactory().get("/"), *sys.exc_info())
        page = reporter.get_traceback_html() + reporter.get_traceback_text()
        assert "is below the smallest value" in page
        assert SECRET not in page

    @override_settings(WSGIPERF={"SERVER": {"STATS_TOKEN": SECRET}})
    def test_django_masks_the_setting_by_its_name(self) -> None:
        shown = SafeExceptionReporterFilter().get_safe_settings()["WSGIPERF"]
        assert shown["SERVER"]["STATS_TOKEN"] == SafeExceptionReporterFilter.cleansed_substitute

    def test_every_secret_has_a_name_that_django_masks(self) -> None:
        for entry in conf.options():
            if entry.secret:
                assert SafeExceptionReporterFilter.hidden_settings.search(entry.key)


class TestTexts:
    """The environment and the command line are read by the same function."""

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("reload", "TRUE", True), ("reload", "off", False), ("reload", " 1 ", True),
            ("reload", "no", False),
            ("threads", "12", 12), ("threads", " +7 ", 7), ("max_connections", "10_000", 10_000),
            ("body_bytes", "10", 10), ("body_bytes", "10b", 10), ("body_bytes", "2k", 2000),
            ("body_bytes", "2kB", 2000), ("body_bytes", "2Ki", 2048), ("body_bytes", "2KiB", 2048),
            ("body_bytes", "1.5M", 1_500_000), ("body_bytes", "1 GiB", 2**30), ("body_bytes", "1T", 10**12),
            ("keepalive_s", "5", 5.0), ("keepalive_s", "500ms", 0.5), ("keepalive_s", "30s", 30.0),
            ("keepalive_s", "5m", 300.0), ("keepalive_s", "1.5 h", 5400.0), ("keepalive_s", "1d", 86_400.0),
            ("keepalive_s", "1e1", 10.0), ("keepalive_s", ".5", 0.5), ("switch_interval_ms", "2", 2.0),
            ("switch_interval_ms", "500us", 0.5), ("switch_interval_ms", "0.005s", 5.0),
            ("bind", "a:1, b:2", ("a:1", "b:2")), ("stats_allow", "", ()), ("stats_allow", "::1,", ("::1",)),
            ("live_path", "", ""), ("log_level", "debug", "debug"),
        ],
    )  # fmt: skip
    def test_read(self, name: str, text: str, value: object) -> None:
        assert getattr(loaded(environ={OPTIONS[name].environment_name: text}).values, name) == value
        assert getattr(loaded(cli={name: text}).values, name) == value

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("reload", "maybe", "'maybe' is not true or false"),
            ("threads", "12k", "'12k' is not a whole number"), ("threads", "1.0", "not a whole number"),
            ("threads", "", "it is set, but empty"), ("threads", "9" * 5000, "is not a whole number"),
            ("body_bytes", "1.5", "not a whole number of bytes"),
            ("body_bytes", "5s", "'s' in '5s' is no unit"),
            ("keepalive_s", "5y", "'y' in '5y' is no unit"), ("keepalive_s", "nan", "'nan' is not a time"),
            ("keepalive_s", "inf", "'inf' is not a time"), ("keepalive_s", "1e999", "not a finite number"),
            ("keepalive_s", "1e999999999999d", "is not a time"),
            ("body_bytes", "1e99999999", "is not a number of bytes"),
            ("keepalive_s", "1 2", "'1 2' is not a time"), ("threads", "\u0661", "is not a whole number"),
        ],
    )  # fmt: skip
    def test_refused(self, name: str, text: str, message: str) -> None:
        found = problem(environ={OPTIONS[name].environment_name: text})
        assert found.kind is ProblemKind.TYPE
        assert message in found.message

    def test_an_empty_number_is_told_to_be_left_unset(self) -> None:
        assert problem(environ={"WSGIPERF_THREADS": ""}).remedy.endswith("or do not set it")

    @given(st.text(max_size=30))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        for entry in conf.options():
            value = outcome(read_text, entry, text)
            if isinstance(value, Refused):
                assert value.message
                assert value.remedy
            else:
                assert read_value(entry, value) == value

    @given(st.from_regex(r"\A[+-]?[0-9]{0,8}\.?[0-9]{0,8}(e[+-]?[0-9]{1,12})? ?[a-zA-Z]{0,3}\Z"))
    def test_anything_like_a_quantity_is_read_or_refused(self, text: str) -> None:
        for name in ("threads", "body_bytes", "keepalive_s", "switch_interval_ms"):
            value = outcome(read_text, OPTIONS[name], text)
            assert isinstance(value, Refused) or value >= (OPTIONS[name].min or 0)

    @given(st.data())
    def test_what_is_shown_is_read_back(self, data: st.DataObject) -> None:
        for entry in conf.options():
            value = data.draw(values_of(entry), label=entry.name)
            assert read_text(entry, show(entry, value)) == value

    @given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.binary()))
    def test_any_value_in_the_settings_is_taken_or_refused(self, raw: object) -> None:
        for entry in conf.options():
            value = outcome(read_value, entry, raw)
            assert isinstance(value, Refused | type(entry.default))


def outcome(read: Callable[[conf.Option, Any], Any], entry: conf.Option, raw: object) -> Any:
    """What was read, or the refusal. Any other exception is a failure of the test."""
    try:
        return read(entry, raw)
    except Refused as refused:
        return refused


def values_of(entry: conf.Option) -> st.SearchStrategy[Any]:
    """Valid values of an option; for texts with a format of their own, only the default."""
    low, high = entry.min or 0, entry.max if entry.max is not None else 2**50
    if entry.kind is Kind.BOOL:
        return st.booleans()
    if entry.kind in (Kind.INT, Kind.SIZE):
        return st.integers(int(low), int(high))
    if entry.kind in (Kind.TIME, Kind.FLOAT):
        return st.floats(low, high)
    if entry.choices and entry.kind is Kind.LIST:
        return st.lists(st.sampled_from(entry.choices), min_size=int(low), max_size=4).map(tuple)
    if entry.choices:
        return st.sampled_from(entry.choices)
    if entry.name == "bind":
        ports = st.integers(0, 65_535).map(lambda port: f"[::1]:{port}")
        return st.lists(ports, min_size=1, max_size=4).map(tuple)
    if entry.kind is Kind.LIST:
        return st.lists(st.ip_addresses().map(str), max_size=4).map(tuple)
    return st.just(entry.default)


class TestCommandLine:
    def test_what_is_not_typed_is_not_there(self) -> None:
        assert parsed() == {}

    def test_addresses_are_positional(self) -> None:
        assert parsed("127.0.0.1:8000", "unix:/run/a,b.sock") == {"bind": ["127.0.0.1:8000", "unix:/run/a,b.sock"]}
        assert loaded(cli=parsed("unix:/run/a,b.sock")).values.bind == ("unix:/run/a,b.sock",)

    def test_flags_go_without_the_unit(self) -> None:
        given = parsed("--threads", "12", "--queue-deadline", "5s", "--body=1k", "--switch-interval", "2")
        assert given == {
            "threads": "12", "queue_deadline_s": "5s", "body_bytes": "1k", "switch_interval_ms": "2",
        }  # fmt: skip
        assert loaded(cli=given).values.body_bytes == 1000

    def test_switches_have_a_no(self) -> None:
        assert parsed("--reload", "--no-gc-freeze") == {"reload": True, "gc_freeze": False}

    def test_a_negative_number_is_out_of_range_rather_than_a_flag(self) -> None:
        found = problem(cli=parsed("--threads", "-1"))
        assert found.kind is ProblemKind.RANGE
        assert str(found.origin) == "command line (--threads)"

    def test_values_from_call_command_need_not_be_texts(self) -> None:
        given = conf.from_namespace({"threads": 12, "reload": None, "verbosity": 1, "settings": None})
        assert loaded(cli=given).values.threads == 12
        assert given == {"threads": 12}

    def test_no_flag_clashes_with_djangos(self) -> None:
        parser = BaseCommand().create_parser("manage.py", "serve")
        conf.add_arguments(parser)
        options = vars(parser.parse_args(["--threads", "3", "--settings", "x", "127.0.0.1:1"]))
        assert conf.from_namespace(options) == {"threads": "3", "bind": ["127.0.0.1:1"]}

    def test_the_help_has_the_groups_and_every_flag(self) -> None:
        parser = argparse.ArgumentParser()
        conf.add_arguments(parser)
        text = parser.format_help()
        for entry in conf.options():
            assert entry.group in text
            assert entry.name == "bind" or entry.flag in text

    def test_the_help_has_defaults_as_they_would_be_typed(self) -> None:
        parser = argparse.ArgumentParser()
        conf.add_arguments(parser)
        text = " ".join(parser.format_help().split())
        for written in ("process (default: 8)", "(default: 75s)", "(default: 32KiB)", "(default: /-/live)"):
            assert written in text
        assert "any of database, cache, migrations, separated by commas (default: database,cache,migrations)" in text
        assert "none by default (" not in text


class TestAccess:
    def test_override_settings_is_seen(self) -> None:
        assert conf.server_settings().threads == 8
        with override_settings(WSGIPERF={"SERVER": {"THREADS": 3}}):
            assert conf.server_settings().threads == 3
        assert conf.server_settings().threads == 8

    def test_it_is_read_once(self) -> None:
        assert conf.current() is conf.current()

    def test_the_environment_is_read_again_after_forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        conf.server_settings()
        monkeypatch.setenv("WSGIPERF_THREADS", "5")
        assert conf.server_settings().threads == 8
        conf.forget()
        assert conf.server_settings().threads == 5

    def test_what_serve_was_told_is_what_its_process_sees(self) -> None:
        conf.adopt(loaded(cli={"threads": "21"}))
        assert conf.server_settings().threads == 21
        assert conf.current().origins["threads"].source is Source.COMMAND_LINE

    def test_it_works_before_django_is_configured(self) -> None:
        program = (
            "from django_wsgiperf import conf\n"
            "from django.conf import settings\n"
            "first = conf.server_settings().threads\n"
            "assert not settings.configured\n"
            "settings.configure(WSGIPERF={'SERVER': {'THREADS': 3}})\n"
            "print(first, conf.server_settings().threads)\n"
        )
        environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        environ["PYTHONPATH"] = str(Path(conf.__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=environ | {"WSGIPERF_BACKLOG": "7"}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.stdout.split(), done.stderr) == (["8", "3"], "")


class TestDisplay:
    def test_every_option_has_a_row_with_value_and_origin(self) -> None:
        rows = {row.key: row for row in conf.describe(loaded(environ={"WSGIPERF_KEEPALIVE_S": "500ms"}))}
        assert list(rows) == [entry.key for entry in conf.options()]
        assert rows["KEEPALIVE_S"][1:3] == ("0.5 s", "environment (WSGIPERF_KEEPALIVE_S)")
        assert rows["HEAD_BYTES"].value == "32 KiB"
        assert rows["TARGET_BYTES"].value == "8190"
        assert rows["PID_FILE"].value == "(empty)"
        assert rows["SWITCH_INTERVAL_MS"].value == "5 ms"
        assert rows["GC_FREEZE"].value == "true"
        assert rows["THREADS"].help == OPTIONS["threads"].help


class TestTheTable:
    def test_every_option_has_a_group_and_a_help(self) -> None:
        assert [entry.name for entry in conf.options()] == [item.name for item in fields(ServerSettings)]
        assert all(entry.group and entry.help for entry in conf.options())

    def test_names_are_unique_in_every_place(self) -> None:
        for attribute in ("key", "flag", "environment_name", "settings_name"):
            names = [getattr(entry, attribute) for entry in conf.options()]
            assert len(set(names)) == len(names)

    def test_another_section_has_its_name_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(conf.SECTIONS, "EXTRA", ExtraSettings)
        environ = {"WSGIPERF_EXTRA_SIZE": "7", "WSGIPERF_THREADS": "3"}
        resolved = conf.load("EXTRA", environ=environ, settings={"SERVER": {}, "EXTRA": {"SHARE": 0.25}})
        assert (resolved.values.size, resolved.values.share) == (7, 0.25)
        assert conf.load(environ=environ, settings={}).values.threads == 3

    def test_a_plain_fraction_has_no_unit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(conf.SECTIONS, "EXTRA", ExtraSettings)
        assert conf.load("EXTRA", environ={"WSGIPERF_EXTRA_SHARE": "0.1"}, settings={}).values.share == 0.1
        with pytest.raises(ConfigurationError, match="'s' in '1s' is no unit"):
            conf.load("EXTRA", environ={"WSGIPERF_EXTRA_SHARE": "1s"}, settings={})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraSettings(Section):
    """A section as later parts of the project will add them."""

    size: int = option(4, "how many", group="Extra", min=1)
    share: float = option(0.5, "how much of it", min=0, max=1)
