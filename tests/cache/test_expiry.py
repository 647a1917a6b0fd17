"""Pages are made anew before their time with the chances that XFetch gives, and lifetimes are spread downwards."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.expiry import is_due_early, spread

dice = st.floats(0, 1, exclude_max=True)


def test_what_has_expired_is_due() -> None:
    assert is_due_early(100.0, 100.0, 0.0)


def test_what_cost_nothing_is_not_made_anew_early() -> None:
    assert not is_due_early(99.999, 100.0, 0.0, chance=lambda: 1 - 2**-53)
    assert not is_due_early(99.999, 100.0, 10.0, beta=0, chance=lambda: 1 - 2**-53)


@given(dice, st.floats(0.001, 10), st.floats(0, 1_000))
def test_the_nearer_the_end_the_likelier(roll: float, render_s: float, left_s: float) -> None:
    # For the same roll: once due, due from then on.
    if is_due_early(1_000 - left_s, 1_000, render_s, chance=lambda: roll):
        assert is_due_early(1_000 - left_s / 2, 1_000, render_s, chance=lambda: roll)


@given(dice, st.floats(0.001, 10))
def test_never_is_it_due_so_early_that_no_roll_gives_it(roll: float, render_s: float) -> None:
    assert not is_due_early(0, render_s * 37 + 1, render_s, chance=lambda: roll)


def test_one_in_e_requests_makes_it_anew_when_the_end_is_one_render_away() -> None:
    seeded = random.Random(1).random
    due = sum(is_due_early(99, 100, 1.0, chance=seeded) for _ in range(20_000))
    assert 0.36 < due / 20_000 < 0.38


@given(st.floats(0, 1e9), st.floats(0, 1), dice)
def test_a_lifetime_is_shortened_by_its_share_at_most(lifetime_s: float, share: float, roll: float) -> None:
    spreaded = spread(lifetime_s, share, chance=lambda: roll)
    assert lifetime_s * (1 - share) * (1 - 1e-9) <= spreaded <= lifetime_s
