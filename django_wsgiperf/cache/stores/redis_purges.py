"""The log of purges inside Redis: one sorted set, so that it is there as a whole or, when Redis drops it, not at all.

Members are "h" or "s" (hard, soft) with the tag, by the number of its last purge. Three have no tag: "#" is the head,
the newest number; "H" and "S" are the floors, before which all is gone or stale. Commands are made here and replies
read; nothing is sent.

A number is the time of the Redis server in microseconds, or one more than the last where that is greater. It grows in
any case; the time only makes sure that it does so when Redis has lost its memory. A log that is behind what a process
knows has lost something (a restart, a replica promoted too early), and begins anew with everything purged. A set of
all tags would grow for ever: beyond `max_tags` the oldest tenth is dropped, and the floors are raised to their newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django_wsgiperf.cache.store import PurgeOrder, Purges

HEAD: Final = "#"
HARD_FLOOR: Final = "H"
SOFT_FLOOR: Final = "S"

# Numbers are below 2**53, so that Lua's and the sorted set's floating point holds them exactly, until the year 2255.
_SCRIPT: Final = """
local log = KEYS[1]
local known, max_tags, kind, everything = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local head = tonumber(redis.call('ZSCORE', log, '#') or '0')
local since = ARGV[1]
local function note(number, member)
    redis.call('ZADD', log, string.format('%.0f', number), member)
end

if head == 0 or head < known then
    head = math.max(now, known + 1, head + 1)
    redis.call('DEL', log)
    note(head, 'H')
    note(head, '#')
    since = '-inf'
    redis.call('PUBLISH', log, '')
end

if kind ~= '' then
    head = math.max(now, head + 1)
    note(head, '#')
    if everything == '1' then
        if kind == 'h' then
            redis.call('DEL', log)
            note(head, '#')
            note(head, 'H')
        else
            note(head, 'S')
        end
    end
    for index = 5, #ARGV do
        note(head, kind .. ARGV[index])
    end
    local surplus = redis.call('ZCARD', log) - max_tags
    if surplus > 0 then
        local oldest = redis.call('ZRANGE', log, 0, surplus + math.floor(max_tags / 10) - 1, 'WITHSCORES')
        local floors = {h = 0, s = 0}
        for index = 1, #oldest, 2 do
            local member, first = oldest[index], string.sub(oldest[index], 1, 1)
            if floors[first] then
                floors[first] = tonumber(oldest[index + 1])
                redis.call('ZREM', log, member)
            end
        end
        for first, member in pairs({h = 'H', s = 'S'}) do
            if floors[first] > tonumber(redis.call('ZSCORE', log, member) or '0') then
                note(floors[first], member)
            end
        end
    end
    redis.call('PUBLISH', log, '')
end
return redis.call('ZRANGEBYSCORE', log, since, '+inf', 'WITHSCORES')
"""


def since(log: str, known: int) -> tuple[str | int, ...]:
    """Ask for all since `known`, the head with it in any case."""
    return ("ZRANGEBYSCORE", log, known, "+inf", "WITHSCORES")


def begin(log: str, known: int, max_tags: int) -> tuple[str | int, ...]:
    """Begin a log unless there is one that reaches to `known`, and ask for all since then."""
    return ("EVAL", _SCRIPT, 1, log, known, max_tags, "", "0")


def purge(log: str, order: PurgeOrder, known: int, max_tags: int) -> tuple[str | bytes | int, ...]:
    """Note the purge, announce it, and ask for all since `known`."""
    kind = "s" if order.soft else "h"
    tags = [tag.encode("utf-8", "surrogatepass") for tag in order.tags]
    return ("EVAL", _SCRIPT, 1, log, known, max_tags, kind, "1" if order.everything else "0", *tags)


def parse(reply: Sequence[Any]) -> Purges:
    """What such a reply says. With a head of 0 there is no log."""
    special = {HEAD: 0, HARD_FLOOR: 0, SOFT_FLOOR: 0}
    tags: dict[str, dict[str, int]] = {"h": {}, "s": {}}
    for member, score in zip(reply[::2], reply[1::2], strict=True):
        name = member.decode("utf-8", "surrogatepass")
        number = int(float(score))
        if name in special:
            special[name] = number
        elif name[:1] in tags:
            tags[name[:1]][name[1:]] = number
    return Purges(special[HEAD], special[HARD_FLOOR], special[SOFT_FLOOR], tags["h"], tags["s"])
