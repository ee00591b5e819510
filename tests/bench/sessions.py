"""Many gas meters at once over TCP, each with objects of one hour under way:
one archive row of four registers an object, the next window when the last one
is acknowledged."""

import selectors
import socket
import time
from datetime import datetime, timedelta

COLUMNS = '["ts","v_work","v_std","sum_v_work","sum_v_std"]'
FIRST = datetime(2025, 1, 1)
WINDOW = 50


class Session:
    def __init__(self, port, serial, count):
        self.sent = self.acked = 0
        self.count, self._rest = count, b""
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.sendall(
            f'{{"t":"hello","v":1,"sn":"{serial}","model":"HEO-G4","clk":'
            f'"{datetime.now():%Y-%m-%dT%H:%M:%S}+00:00"}}\n'.encode())

    def _row(self, i):
        at = FIRST + timedelta(hours=i)
        return (f'{{"t":"data","seq":{i + 1},"kind":"hour","cols":{COLUMNS},'
                f'"rows":[["{at:%Y-%m-%dT%H:%M:%S}+00:00",{4706 + i}.0000,'
                f'{9412 + 2 * i}.0000,{4706 + i}.0000,{9412 + 2 * i}.0000]],'
                '"unit":"m3"}\n')

    def send(self):
        n = min(WINDOW, self.count - self.sent)
        self.socket.sendall("".join(
            self._row(i) for i in range(self.sent, self.sent + n)).encode())
        self.sent += n

    def take(self):
        """True when the last row is acknowledged."""
        got = self.socket.recv(65536)
        if not got:
            raise OSError("the server ended the session")
        *lines, self._rest = (self._rest + got).split(b"\n")
        for line in lines:
            if b'"nak"' in line:
                raise OSError(line.decode())
            self.acked += b'"seq"' in line
        if self.acked == self.sent < self.count:
            self.send()
        return self.acked == self.count


def play(port, serials, each):
    """Sends `each` objects of every meter; seconds until all are acknowledged.
    """
    began = time.monotonic()
    with selectors.DefaultSelector() as waiting:
        for serial in serials:
            session = Session(port, serial, each)
            session.send()
            waiting.register(session.socket, selectors.EVENT_READ, session)
        while waiting.get_map():
            for key, _ in waiting.select(20):
                if key.data.take():
                    waiting.unregister(key.fileobj)
                    key.fileobj.close()
    return time.monotonic() - began
