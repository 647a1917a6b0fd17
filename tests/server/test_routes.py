"""What the server learns of a route from its requests."""

from __future__ import annotations

from django_wsgiperf.server.routes import RouteCosts

MS = 1_000_000


def learn(
    costs: RouteCosts, times: int, took_ms: float, cpu_ms: float, runners: int, path: bytes = b"/books/7"
) -> None:
    for _ in range(times):
        costs.learn(path, int(took_ms * MS), int(cpu_ms * MS), runners)


def test_page_that_waits_blocks_and_does_not_compute() -> None:
    costs = RouteCosts()
    learn(costs, 10, took_ms=50, cpu_ms=0.2, runners=8)
    cost = costs.get(b"/books/7")
    assert cost is not None
    assert cost.blocks
    assert not cost.computes


def test_page_that_computes_is_known_alone_and_in_a_crowd() -> None:
    for runners in (1, 12):
        costs = RouteCosts()
        learn(costs, 10, took_ms=10 * runners, cpu_ms=10, runners=runners)
        cost = costs.get(b"/books/7")
        assert cost is not None
        assert cost.computes


def test_page_that_computes_little_and_waits_long_is_not_taken_for_one_that_computes() -> None:
    costs = RouteCosts()
    learn(costs, 10, took_ms=500, cpu_ms=5, runners=12)
    cost = costs.get(b"/books/7")
    assert cost is not None
    assert not cost.computes


def test_digits_do_not_make_another_route() -> None:
    costs = RouteCosts()
    learn(costs, 10, took_ms=10, cpu_ms=10, runners=1, path=b"/books/7")
    assert costs.get(b"/books/123") is costs.get(b"/books/7")
    assert costs.get(b"/authors/7") is None


def test_short_page_that_had_to_wait_once_stays_a_short_page() -> None:
    costs = RouteCosts()
    learn(costs, 1, took_ms=6, cpu_ms=-1e-6, runners=12)
    cost = costs.get(b"/books/7")
    assert cost is None or not cost.blocks


def test_page_that_has_become_fast_is_forgotten() -> None:
    costs = RouteCosts()
    learn(costs, 10, took_ms=10, cpu_ms=10, runners=1)
    learn(costs, 20, took_ms=0.05, cpu_ms=0.05, runners=1)
    assert costs.get(b"/books/7") is None
    assert not costs.known


def test_number_of_routes_is_bounded() -> None:
    costs = RouteCosts()
    for n in range(10_000):
        learn(
            costs, 1, took_ms=10, cpu_ms=10, runners=1, path=b"/" + "".join(chr(97 + int(d)) for d in str(n)).encode()
        )
    assert len(costs.known) <= 4096


def test_page_that_waits_for_less_than_a_millisecond_blocks_too() -> None:
    costs = RouteCosts()
    learn(costs, 20, took_ms=0.55, cpu_ms=0.1, runners=1)
    cost = costs.get(b"/books/7")
    assert cost is not None
    assert cost.blocks


def test_page_that_computes_for_less_than_a_millisecond_blocks_neither_alone_nor_in_a_crowd() -> None:
    for runners in (1, 6):
        costs = RouteCosts()
        learn(costs, 20, took_ms=0.5 if runners == 1 else 0.9, cpu_ms=0.45, runners=runners)
        cost = costs.get(b"/books/7")
        assert cost is not None
        assert not cost.blocks
