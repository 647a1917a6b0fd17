"""Shared memory that survives its writers: what was last written there is read, whole, by everybody."""

from __future__ import annotations

import subprocess
import sys
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.server.ledger import Ledger


def test_what_is_written_last_is_read() -> None:
    ledger = Ledger(3, 100)
    assert [ledger.read(place) for place in ledger.places()] == [b"", b"", b""]
    for data in (b"one", b"two hundred", b"", b"x" * 100):
        assert ledger.write(1, data)
        assert ledger.read(1) == data
    assert ledger.read(0) == ledger.read(2) == b""


def test_what_does_not_fit_leaves_the_place_as_it_was() -> None:
    ledger = Ledger(1, 16)
    ledger.write(0, b"before")
    assert not ledger.write(0, b"x" * 17)
    assert ledger.read(0) == b"before"


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=64)), max_size=40))
def test_places_do_not_touch_each_other(writes: list[tuple[int, bytes]]) -> None:
    ledger = Ledger(4, 64)
    expected = [b""] * 4
    for place, data in writes:
        ledger.write(place, data)
        expected[place] = data
    assert [ledger.read(place) for place in ledger.places()] == expected


def test_there_are_places_for_twice_the_workers_and_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "_the_one", None)
    ledger = Ledger.shared(3, 64)
    assert Ledger.shared(9, 64) is ledger, "there is one of each server"
    assert ledger.has(13)
    assert not ledger.has(14)
    assert Ledger(1, 64).name != ledger.name


FAMILY = """
import os
from django_wsgiperf.server.ledger import Ledger
ledger = Ledger(2, 64)
for place in ledger.places():
    pid = os.fork()
    if pid == 0:
        ledger.write(place, f"from {place}".encode())
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
print([ledger.read(place) for place in ledger.places()])
"""


def test_what_children_wrote_is_read_by_their_parent_when_they_are_killed() -> None:
    done = subprocess.run([sys.executable, "-c", FAMILY], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == str([b"from 0", b"from 1"])


def test_reader_never_sees_half_of_a_writing() -> None:
    ledger = Ledger(1, 4096)
    done = threading.Event()
    torn: list[bytes] = []
    read: list[int] = []

    def look() -> None:
        while not done.is_set():
            data = ledger.read(0)
            if data:
                read.append(1)
                if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "big"):
                    torn.append(data)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    n = 0
    while len(read) < 2000:
        n += 1
        body = bytes([n % 251]) * (n * 37 % 4000)
        ledger.write(0, zlib.crc32(body).to_bytes(4, "big") + body)
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
