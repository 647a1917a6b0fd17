"""When a page is made anew a little before its time, so that a thousand requests do not all find it expired at once.

Plain sums; the clock and the dice are the caller's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable


def is_due_early(
    now: float,
    expires_at: float,
    render_s: float,
    *,
    beta: float = 1.0,
    chance: Callable[[], float] = random.random,
) -> bool:
    """Whether this request is the one to make the page anew although it is fresh until `expires_at`.

    XFetch (Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015): the dearer
    the page (`render_s`) and the nearer its end, the likelier. A `beta` above 1 means earlier, 0 means never before
    the end. No process needs to know of the others."""
    if now >= expires_at:
        return True
    scale_s = render_s * beta
    # Once in 2**53 the dice say 0; and far from the end, which is nearly always, nothing needs to be rolled.
    if scale_s <= 0 or expires_at - now > scale_s * 37:
        return False
    return now - scale_s * math.log(1.0 - chance()) >= expires_at


def spread(lifetime_s: float, share: float = 0.05, *, chance: Callable[[], float] = random.random) -> float:
    """The lifetime less a random part of at most `share` of it: pages made together do not expire together. Never
    more, since the application said how long at most."""
    return lifetime_s * (1.0 - share * chance())
