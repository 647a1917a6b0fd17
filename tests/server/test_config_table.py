"""What `--print-config` looks like in terminals of several widths, and in a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management.color import no_style

from django_wsgiperf.conf import SECTIONS, describe, load
from django_wsgiperf.server.summary import config_table

from .processes import environment

SETTINGS = {
    "SERVER": {"STATS_ALLOW": ["127.0.0.1", "10.0.0.0/8", "192.168.0.0/16", "fd00::/8"], "STATS_TOKEN": "x" * 40},
    "CACHE": {"PREFIX": "shop"},
}
RESOLVED = [load(section, environ={"WSGIPERF_THREADS": "3"}, settings=SETTINGS) for section in SECTIONS]


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("columns", [50, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(columns: int) -> None:
    text = config_table(RESOLVED, no_style(), columns=columns)
    assert max(map(len, text.splitlines())) <= columns
    for resolved in RESOLVED:
        for row in describe(resolved):
            assert squeezed(row.key + row.value + row.origin) in squeezed(text)


def test_names_of_settings_stay_whole_to_be_copied() -> None:
    lines = config_table(RESOLVED, no_style(), columns=60).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("  STATS_ALLOW "))
    assert lines[at : at + 3] == [
        "  STATS_ALLOW                127.0.0.1, 10.0.0.0/8,",
        "                             192.168.0.0/16, fd00::/8",
        "                settings (WSGIPERF['SERVER']['STATS_ALLOW'])",
    ]


def test_origins_that_fit_stand_in_one_column() -> None:
    lines = config_table(RESOLVED, no_style(), columns=60).splitlines()
    places = {line.rindex("default") for line in lines if line.endswith("  default")}
    assert places == {60 - len("default")}


@pytest.mark.parametrize("columns", [1, 10, 29, 30])
def test_tiny_terminals_are_outlived(columns: int) -> None:
    assert "default" in config_table(RESOLVED, no_style(), columns=columns)


def test_into_a_pipe_each_option_has_one_line() -> None:
    lines = config_table(RESOLVED, no_style()).splitlines()
    assert sum(line.startswith("  ") for line in lines) == sum(len(describe(resolved)) for resolved in RESOLVED)


@pytest.mark.parametrize("command", [("serve", "--print-config"), ("wsgiperf", "config")])
def test_commands_look_at_the_terminal(project: Path, command: tuple[str, ...]) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", *command],
        cwd=project,
        env=environment({"TERM": "xterm", "COLUMNS": "60", "NO_COLOR": "1"}),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    with os.fdopen(controller, "rb", buffering=0) as output:
        text = b""
        # Linux tells the end of the other side by an error.
        try:
            while piece := output.read(65_536):
                text += piece
        except OSError:
            pass
    assert process.wait() == 0
    assert max(map(len, text.decode().splitlines())) <= 60
