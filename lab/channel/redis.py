"""Redis Streams as a live channel: one stream, a consumer group for each group, and acknowledgement of each message.

A stream has no queue for each group, and no idea of who is alive. Scripts, each executed as a whole, add both: the
stream is cut off below what every group has acknowledged, refuses what has no room, and what a member leaves goes to a
consumer of its own, `/left`, from which it is taken first. What a member has taken that has vanished is taken over
after `ack_wait` seconds. What is new is taken by the same script that finds that the member was not replaced: a member
that waits only looks, so that no message goes to one that another has replaced meanwhile.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from redis import ResponseError

from lab.base import LabError, Unavailable
from lab.channel.wire import decoded, encoded
from lab.engines import redis as engine
from lab.ports import ChannelPromises, Delivery, Message
from lab.servers.broker import channel_name
from lab.servers.redis import LEDGER, SERVER

# Seconds after which a stream that nothing is published to is gone, if nobody has dropped it; and seconds that one read
# waits, so that what a member left is found meanwhile.
_EXPIRES, _SLICE = 86_400, 0.25
# Messages in one script, and entries beyond which a stream is cut off below what every group has acknowledged.
_TOGETHER, _UNTRIMMED = 500, 4_096

_PUBLISH = """
local stream, capacity = KEYS[1], tonumber(ARGV[1])
if redis.call('EXISTS', stream) == 0 then return 0 end
local function has_room(limit) return redis.call('XLEN', stream) + #ARGV - 3 <= limit end
if not has_room(math.min(capacity, tonumber(ARGV[3]))) then
  local first_ms, first_number = math.huge, 0
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local told = {}
    for place = 1, #group, 2 do told[group[place]] = group[place + 1] end
    local id, more = told['last-delivered-id'], 1
    if told['pending'] > 0 then id, more = redis.call('XPENDING', stream, told['name'])[2], 0 end
    local ms, number = string.match(id, '(%d+)-(%d+)')
    ms, number = tonumber(ms), tonumber(number) + more
    if ms < first_ms or (ms == first_ms and number < first_number) then first_ms, first_number = ms, number end
  end
  if first_ms ~= math.huge then
    redis.call('XTRIM', stream, 'MINID', string.format('%.0f-%.0f', first_ms, first_number))
  end
  if not has_room(capacity) then return redis.error_reply('FULL') end
end
for place = 4, #ARGV do redis.call('XADD', stream, '*', 'm', ARGV[place]) end
redis.call('EXPIRE', stream, ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return #ARGV - 3
"""

# What members of this name, and not of this token, have taken goes to `/left`; a token of its own makes a new member,
# unless there is one of a later generation, with which its token begins.
_LATER = -1
_JOIN = """
local stream, members, group, member, token = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local field = group .. '/' .. member
local function generation(of) return tonumber(string.match(of, '^%d+')) end
if token ~= '' then
  local there = redis.call('HGET', members, field)
  if there and generation(there) > generation(token) then return -1 end
  redis.call('HSET', members, field, token)
  redis.call('EXPIRE', members, ARGV[4])
elseif redis.call('HGET', members, field) ~= ARGV[5] then return 0
else redis.call('HDEL', members, field) end
if redis.call('EXISTS', stream) == 0 then return 0 end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local name = consumer[2]
  if string.sub(name, 1, #member + 1) == member .. '/' and name ~= member .. '/' .. token then
    local left = redis.call('XPENDING', stream, group, '-', '+', 1000, name)
    while #left > 0 do
      for _, entry in ipairs(left) do
        redis.call('XCLAIM', stream, group, '/left', 0, entry[1], 'IDLE', 1000000000, 'JUSTID')
      end
      left = redis.call('XPENDING', stream, group, '-', '+', 1000, name)
    end
    redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
  end
end
return 1
"""

# Entries as id, message and attempt; without any, the id behind which the next one will be.
_TAKE = """
local stream, group, member, token, most = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local joined = redis.call('HGET', KEYS[2], group .. '/' .. member)
if not joined then return redis.error_reply('FORGOTTEN') end
if joined ~= token then return redis.error_reply('REPLACED') end
redis.call('EXPIRE', KEYS[2], ARGV[6])
local me, found = member .. '/' .. token, {}
local function claim(entries)
  for _, entry in ipairs(entries) do
    if entry[2] ~= me and #found < 3 * most then
      local got = redis.call('XCLAIM', stream, group, me, 0, entry[1])
      if got[1] then
        for _, part in ipairs({entry[1], got[1][2][2], entry[4] + 1}) do found[#found + 1] = part end
      end
    end
  end
end
claim(redis.call('XPENDING', stream, group, '-', '+', most, '/left'))
if ARGV[5] ~= '' then claim(redis.call('XPENDING', stream, group, 'IDLE', ARGV[5], '-', '+', most)) end
local room = most - #found / 3
local new = room > 0 and redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', room, 'STREAMS', stream, '>')
for _, entry in ipairs(new and new[1][2] or {}) do
  for _, part in ipairs({entry[1], entry[2][2], 1}) do found[#found + 1] = part end
end
if #found > 0 then return found end
for _, one in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local told = {}
  for place = 1, #one, 2 do told[one[place]] = one[place + 1] end
  if told['name'] == group then return {told['last-delivered-id']} end
end
return redis.error_reply('FORGOTTEN')
"""

_SETTLE = """
local stream, group, member, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', KEYS[2], group .. '/' .. member) ~= token then return 0 end
for place = 5, #ARGV do
  if ARGV[4] == 'done' then redis.call('XACK', stream, group, ARGV[place])
  else redis.call('XCLAIM', stream, group, '/left', 0, ARGV[place], 'IDLE', 1000000000, 'JUSTID') end
end
return #ARGV - 4
"""


class RedisChannel:
    """A `Channel` in the stream of this name; a new one, written down first, if it is empty."""

    promises = ChannelPromises()

    def __init__(self, capacity: int = 1_000_000, name: str = "", ack_wait: float = 30.0) -> None:
        """`ack_wait` is after how many seconds without an acknowledgement another member may have a message."""
        self.capacity, self.ack_wait = capacity, ack_wait
        self._url = SERVER.url()
        self._client = SERVER.connect(name or "lab")
        self.name = name or self._fresh()
        self.stream = f"{self.name}:stream"
        self.keys = [self.stream, f"{self.name}:members"]

    def publish(self, messages: Sequence[Message]) -> None:
        """Append to the stream, each script's messages all or nothing. Without a group, nothing is kept."""
        for first in range(0, len(messages), _TOGETHER):
            bodies = [encoded(message) for message in messages[first : first + _TOGETHER]]
            try:
                self.execute(_PUBLISH, [self.capacity, _EXPIRES, _UNTRIMMED, *bodies])
            except Unavailable as error:
                if "FULL" not in str(error):
                    raise
                left = f"{len(bodies):,} more have no room: it keeps {self.capacity:,} until each group acknowledges"
                raise Unavailable(f"Redis at {self._url}: the stream is full, {left}") from None

    def declare(self, group: str) -> None:
        """Make a group at the end of the stream."""
        with self.mapped():
            try:
                self._client.xgroup_create(self.stream, group, "$", mkstream=True)
                self._client.expire(self.stream, _EXPIRES)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def subscribe(self, group: str, member: str, generation: int = 0) -> RedisSubscription:
        """Join a group. A member of this name counts as dead: what it has taken is delivered first."""
        self.declare(group)
        return RedisSubscription(self, group, member, generation)

    def backlog(self, group: str) -> int:
        """What was not delivered yet, and what is taken."""
        with self.mapped():
            if not self._client.exists(self.stream):
                return 0
            told = {each["name"].decode(): each for each in self._client.xinfo_groups(self.stream)}
        found = told.get(group)
        # Where entries were deleted the server doesn't know the first of the two.
        return int(found["pending"] + (found["lag"] or 0)) if found else 0

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def drop(self) -> None:
        """Remove the stream."""
        with self.mapped():
            LEDGER.drop(self._client, "prefix", self.name)
        self.close()

    def mapped(self) -> AbstractContextManager[None]:
        """Raise the lab's errors in place of the driver's."""
        return engine.mapped(f"Redis at {self._url}", self._url)

    def _fresh(self) -> str:
        """A name that is written down."""
        name = channel_name()
        with self.mapped():
            LEDGER.note(self._client, "prefix", name, LEDGER.owner(), Path("/"))
        return name

    def execute(self, script: str, arguments: Sequence[Any], keys: Sequence[str] = ()) -> Any:
        """Execute a script as a whole, on these keys or the channel's own. Raises Unavailable."""
        with self.mapped():
            return self._client.register_script(script)(keys=list(keys or self.keys), args=list(arguments))

    def wait(self, behind: bytes, seconds: float) -> None:
        """Wait until there is a message behind the one of this id, and take none. Raises Unavailable."""
        with self.mapped():
            # The server takes 0 for ever.
            self._client.xread({self.stream: behind}, count=1, block=max(1, round(seconds * 1_000)))


class RedisSubscription:
    """A member of a group: a consumer of its own, which a later member of the same name replaces."""

    def __init__(self, channel: RedisChannel, group: str, member: str, generation: int) -> None:
        self._channel, self._group, self._member = channel, group, member
        self._token = f"{generation}/{secrets.token_hex(8)}"
        self._mine: dict[int, bytes] = {}
        self._looks_at = time.monotonic()
        self._gone = channel.execute(_JOIN, [group, member, self._token, _EXPIRES]) == _LATER

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most`; what was left comes first, then what is new."""
        until = time.monotonic() + seconds
        most = min(most, _TOGETHER)
        while not self._gone and most:
            found = self._found(most)
            waits = until - time.monotonic()
            if len(found) > 1 or waits <= 0.0:
                return [self._delivery(*found[first : first + 3]) for first in range(0, len(found) - 2, 3)]
            if found:
                self._channel.wait(found[0], min(_SLICE, waits))
        if self._gone:
            # As long as any take of nothing.
            time.sleep(max(0.0, until - time.monotonic()))
        return []

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Acknowledge what is this member's."""
        self._settle("done", done)

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Give back, to be delivered first."""
        self._settle("left", given_back)

    def close(self) -> None:
        """Leave the group, and leave what isn't acknowledged."""
        if not self._gone:
            self._gone = True
            self._channel.execute(_JOIN, [self._group, self._member, "", _EXPIRES, self._token])

    def _found(self, most: int) -> Sequence[Any]:
        """What the script has taken: what was left, as far as it is to be had, and what is new."""
        looks = time.monotonic() >= self._looks_at
        if looks:
            self._looks_at = time.monotonic() + self._channel.ack_wait / 4
        idle = round(self._channel.ack_wait * 1_000) if looks else ""
        try:
            me = [self._group, self._member, self._token]
            found: Sequence[Any] = self._channel.execute(_TAKE, [*me, most, idle, _EXPIRES])
        except LabError as error:
            if "REPLACED" in str(error):
                self._gone = True
                return []
            if "FORGOTTEN" in str(error):
                # Its key was evicted, or has expired: who joins again gets what it had taken.
                raise Unavailable(f"{self._channel.name}: the server has forgotten the members of its groups") from None
            raise
        return found

    def _delivery(self, name: bytes, body: bytes, attempt: int) -> Delivery:
        milliseconds, number = name.split(b"-")
        tag = int(milliseconds) << 32 | int(number)
        self._mine[tag] = name
        return Delivery(decoded(body), tag, int(attempt))

    def _settle(self, how: str, deliveries: Sequence[Delivery]) -> None:
        names = {item.tag: self._mine[item.tag] for item in deliveries if item.tag in self._mine}
        if names and not self._gone:
            self._channel.execute(_SETTLE, [self._group, self._member, self._token, how, *names.values()])
        for tag in names:
            del self._mine[tag]
