"""An HEO gas meter's side of the line: a socket, plain or TLS, and JSON."""

import json
import os
import socket
import ssl


class HeoMeter:
    def __init__(self, port, serial=None, timeout=20, tls=None, before=b""):
        """`tls`: an ssl.SSLContext; `before`: what a load balancer says."""
        self.serial = serial
        self._in = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.sendall(before)
        if tls:
            try:
                self._socket = tls.wrap_socket(self._socket,
                                               server_hostname="localhost")
            except (OSError, ssl.SSLError):
                self._socket.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, thing):
        """An object as one line, or bytes as they are."""
        if not isinstance(thing, bytes):
            thing = json.dumps(thing).encode() + b"\n"
        self._socket.sendall(thing)

    def receive(self):
        """The server's next object; None when it has closed."""
        while b"\n" not in self._in:
            try:
                got = self._socket.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                return None
            self._in += got
        line, self._in = self._in.split(b"\n", 1)
        return json.loads(line)

    def hears(self):
        """Some bytes, whatever they mean; false when it is over."""
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:
            return b""

    def send_raw(self, data):
        """Past the encryption, straight to the line."""
        os.write(self._socket.fileno(), data)

    def version(self):
        return self._socket.version()

    def session(self):
        return self._socket.session

    def certificate(self):
        return self._socket.getpeercert(True)

    def ask(self, thing):
        self.send(thing)
        return self.receive()

    def hello(self, clock="2024-01-11T12:00:05+03:00"):
        return self.ask({"t": "hello", "v": 1, "sn": self.serial,
                         "model": "HEO-G4", "fw": "1.4.2", "clk": clock,
                         "bat": 87, "batv": 3.52, "rssi": -83,
                         "valve": "open"})

    def finish_sending(self):
        self._socket.shutdown(socket.SHUT_WR)

    def cut(self):
        """Drops the line the hard way: reset, no goodbye."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                b"\x01\0\0\0\0\0\0\0")
        self._socket.close()

    def close(self):
        self._socket.close()
