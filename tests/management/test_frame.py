"""The frame of `manage.py wsgiperf`: its help, the options on either side, colours, and exit codes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from django_wsgiperf.management.commands import wsgiperf as frame
from django_wsgiperf.management.wsgiperf import UsageError, subcommands

from .running import ROOT, shell, wsgiperf

Handler = Callable[[BaseCommand, dict[str, Any]], int | None]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Handler], None]:
    """Make a function the only subcommand, by the name of `probe`."""

    def install(handle: Handler) -> None:
        def add_arguments(parser: ArgumentParser) -> None:
            parser.add_argument("--depth", type=int, default=1)

        probe = SimpleNamespace(help="Probe.", add_arguments=add_arguments, handle=handle)
        monkeypatch.setattr(frame, "subcommands", lambda: {"probe": probe})

    return install


def test_every_subcommand_says_what_it_does_in_a_sentence() -> None:
    assert {"cache", "config", "purge", "warm"} <= set(subcommands())
    for module in subcommands().values():
        assert module.help[0].isupper()
        assert module.help.endswith(".")
        assert "\n" not in module.help


def test_without_a_subcommand_it_lists_them_and_exits_with_2() -> None:
    outcome = shell()
    assert outcome.code == 2
    assert outcome.out == ""
    for name in subcommands():
        assert f"    {name} " in outcome.err
    assert "exit codes: 0 done" in outcome.err


def test_an_unknown_subcommand_is_usage() -> None:
    outcome = shell("prune")
    assert outcome.code == 2
    assert "invalid choice: 'prune'" in outcome.err
    assert "Traceback" not in outcome.err


def test_what_the_subcommand_returns_is_the_exit_code(only: Callable[[Handler], None]) -> None:
    only(lambda command, options: options["depth"])
    assert wsgiperf("probe").code == 1
    assert wsgiperf("probe", "--depth", "0").code == 0
    assert call_command("wsgiperf", "probe", "--depth", "0") is None
    only(lambda command, options: None)
    assert wsgiperf("probe").code == 0


def test_usage_errors_exit_with_2(only: Callable[[Handler], None]) -> None:
    def refuse(command: BaseCommand, options: dict[str, Any]) -> int | None:
        raise UsageError("no such page")

    only(refuse)
    with pytest.raises(CommandError, match="no such page") as caught:
        wsgiperf("probe")
    assert caught.value.returncode == 2
    with pytest.raises(CommandError, match="invalid int value"):
        wsgiperf("probe", "--depth", "deep")


def test_wrong_settings_are_reported_in_their_words_and_exit_with_2() -> None:
    outcome = shell("config", WSGIPERF_THREADS="many")
    assert outcome.code == 2
    assert "THREADS" in outcome.err
    assert "environment (WSGIPERF_THREADS)" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("arguments", [("-v", "2", "probe"), ("probe", "-v", "2"), ("-v", "0", "probe", "-v", "2")])
def test_common_options_stand_on_either_side(arguments: tuple[str, ...], only: Callable[[Handler], None]) -> None:
    seen: list[int] = []
    only(lambda command, options: seen.append(options["verbosity"]))
    wsgiperf(*arguments)
    assert seen == [2]


def test_arguments_and_options_stand_in_any_order() -> None:
    """argparse by itself takes `purge /a --tag b` only."""
    for arguments in (("/a", "--tag", "b", "/c"), ("--tag", "b", "/a", "/c"), ("/a", "/c", "--tag", "b", "-v", "2")):
        out = wsgiperf("purge", *arguments, "--dry-run", "--json").out
        assert '"/a",\n    "/c"' in out
        assert '"b"' in out


def test_colours_only_where_they_are_wanted(only: Callable[[Handler], None], monkeypatch: pytest.MonkeyPatch) -> None:
    only(lambda command, options: command.stdout.write(command.style.ERROR("red")))
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in wsgiperf("probe", "--force-color").out
    assert "\x1b[" not in wsgiperf("probe", "--no-color").out
    assert "\x1b[" not in wsgiperf("--no-color", "probe").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in wsgiperf("probe").out
    assert "\x1b[" in wsgiperf("probe", "--force-color").out


def test_ctrl_c_is_no_traceback(only: Callable[[Handler], None]) -> None:
    def interrupted(command: BaseCommand, options: dict[str, Any]) -> int | None:
        raise KeyboardInterrupt

    only(interrupted)
    assert wsgiperf("probe").code == 130


def test_a_reader_that_has_enough_is_no_error() -> None:
    """`| head`: the other end of the pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "django", "wsgiperf", "config", "--settings", "tests.settings"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_streams_are_those_of_call_command() -> None:
    out = io.StringIO()
    call_command("wsgiperf", "config", "--changed", stdout=out)
    assert out.getvalue().strip()
