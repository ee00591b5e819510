"""Wires between the parts, which can be cut and stalled; and a tap on the
bridges' wire that remembers what they acknowledged."""

import asyncio
import json
import threading


class Wires:
    """The thread that moves the bytes of all wires."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever,
                                        daemon=True)
        self._thread.start()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine,
                                                self.loop).result(20)

    @staticmethod
    async def _end():
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self):
        """All wires are cut."""
        self.do(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)


class Wire:
    """Listens at `here`, dials `there`: a port of 127.0.0.1 or the path of a
    unix socket, each. `tap()` makes, for each connection, what sees its bytes:
    .up() from the dialling side, .down() from the other, before the other end
    has them."""

    def __init__(self, wires, here, there, tap=None):
        self._wires, self._there, self._tap = wires, there, tap
        self._open = set()
        self._refusing = False
        wires.do(self._begin(here))

    async def _begin(self, here):
        self._flows = asyncio.Event()
        self._flows.set()
        if isinstance(here, int):
            await asyncio.start_server(self._serve, "127.0.0.1", here)
        else:
            await asyncio.start_unix_server(self._serve, here)

    async def _dial(self):
        if isinstance(self._there, int):
            return await asyncio.open_connection("127.0.0.1", self._there)
        return await asyncio.open_unix_connection(self._there)

    async def _serve(self, reader, writer):
        try:
            if self._refusing:
                raise ConnectionError
            far_reader, far_writer = await self._dial()
        except OSError:
            writer.transport.abort()
            return
        tap = self._tap and self._tap()
        ends = (writer, far_writer)
        self._open.update(ends)
        try:
            await asyncio.gather(
                self._move(reader, far_writer, tap and tap.up),
                self._move(far_reader, writer, tap and tap.down))
        except OSError:
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self._open.difference_update(ends)

    async def _move(self, reader, writer, seen):
        while data := await reader.read(65536):
            if seen:
                seen(data)
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _cut_now(self):
        for end in self._open:
            end.transport.abort()

    async def _let(self, flow):
        self._flows.set() if flow else self._flows.clear()

    def cut(self):
        """All connections end with a reset."""
        self._wires.do(self._cut_now())

    def refuse(self):
        """As cut, and so for each new connection until flow()."""
        self._refusing = True
        self.cut()

    def stall(self):
        """Nothing passes, nothing ends, until flow()."""
        self._wires.do(self._let(False))

    def flow(self):
        self._refusing = False
        self._wires.do(self._let(True))


class MqttTap:
    """One connection of a bridge. A message counts as acknowledged when its
    PUBACK has left the bridge (MQTT 3.1.1 clauses 2.2, 3.3, 3.4)."""

    PUBLISH, PUBACK = 3, 4

    def __init__(self, ledger):
        self._ledger = ledger
        self._up, self._down = bytearray(), bytearray()
        self._under_way = {}  # packet id -> identity

    @staticmethod
    def _packets(buffer):
        """Takes whole packets off: (type, flags, body)."""
        while True:
            length = shift = 0
            at = 1
            while at < len(buffer):
                length |= (buffer[at] & 127) << shift
                shift += 7
                at += 1
                if not buffer[at - 1] & 128:
                    break
            else:
                return
            if len(buffer) < at + length:
                return
            yield buffer[0] >> 4, buffer[0] & 15, bytes(buffer[at:at + length])
            del buffer[:at + length]

    def down(self, data):
        self._down += data
        for kind, flags, body in self._packets(self._down):
            if kind == self.PUBLISH and flags & 6:
                topic = 2 + int.from_bytes(body[:2], "big")
                packet = int.from_bytes(body[topic:topic + 2], "big")
                uplink = json.loads(body[topic + 2:])
                self._under_way[packet] = (uplink["deviceInfo"]["devEui"],
                                           uplink["fCnt"])

    def up(self, data):
        self._up += data
        for kind, _, body in self._packets(self._up):
            if kind == self.PUBACK:
                self._ledger.acknowledged(
                    self._under_way[int.from_bytes(body[:2], "big")])
