"""When a worker is said not to poll its sockets any more."""

from __future__ import annotations

import pytest

from django_wsgiperf.server.pulse import Pulse


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    return caplog


def test_beats_while_the_sockets_are_polled(told: pytest.LogCaptureFixture) -> None:
    pulse = Pulse()
    assert all(pulse.beats(at - 1.9, at) for at in (100.0, 101.0, 102.0))
    assert told.messages == []


def test_silence_that_lasts_is_told_once(told: pytest.LogCaptureFixture) -> None:
    pulse = Pulse()
    assert not any(pulse.beats(98.0, at) for at in (100.0, 101.0, 102.0))
    [message] = told.messages
    assert message.endswith("has polled its sockets for 3.0 s")


def test_second_look_that_a_signal_brings_forward_tells_nothing_new(told: pytest.LogCaptureFixture) -> None:
    pulse = Pulse()
    assert not pulse.beats(97.1, 100.0)
    assert not pulse.beats(97.1, 100.01)
    assert told.messages == []
    assert pulse.beats(100.02, 100.05)


def test_each_silence_is_told(told: pytest.LogCaptureFixture) -> None:
    pulse = Pulse()
    for polled in (98.0, 198.0):
        pulse.beats(polled, polled + 2)
        pulse.beats(polled, polled + 3)
        assert pulse.beats(polled + 4, polled + 4.5)
    assert len(told.messages) == 2
