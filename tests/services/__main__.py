"""`python -m tests.services`: what there is, as JSON."""

from __future__ import annotations

import json
import sys

from tests.services.address import Address
from tests.services.looking import SERVICES, address, look
from tests.services.statements import drop_database


def main(arguments: list[str]) -> int:
    """`python -m tests.services [--given] KEY...`: what `look` finds. `--drop KEY NAME`: drop a database."""
    if arguments[:1] == ["--drop"]:
        drop_database(Address.parse(address(arguments[1])), arguments[2])
        return 0
    here = "--given" not in arguments
    answer: dict[str, dict[str, object]] = {}
    for key in [word for word in arguments if not word.startswith("--")] or list(SERVICES):
        found = look(key, here=here)
        answer[key] = {slot: getattr(found, slot) for slot in found.__slots__}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
