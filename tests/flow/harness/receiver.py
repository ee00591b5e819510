"""Who takes webhooks: verifies each signature as the README tells."""

import base64
import hmac
import http.server
import json
import ssl
import threading
import time

from .tools import free_port


class Receiver:
    """Answers `status`; what it took (2xx) and all that it was sent."""

    def __init__(self, context=None):
        self.port, self.status = free_port(), 200
        self.context, self.secret, self.answer = context, None, b"{}"
        self.hold = None  # an Event that answers wait for
        self.at_once, self.most_at_once = 0, 0
        self.calls, self.taken = [], {}  # by id, in order
        self._server = None

    @property
    def url(self):
        return f"http{'s' if self.context else ''}://127.0.0.1:{self.port}/in"

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                receiver.at_once += 1
                receiver.most_at_once = max(receiver.at_once,
                                            receiver.most_at_once)
                try:
                    receiver.took(self)
                finally:
                    receiver.at_once -= 1

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # a client that was killed

        self._server = Server(("127.0.0.1", self.port), Handler)
        if self.context:
            self._server.socket = self.context.wrap_socket(
                self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,),
                         daemon=True).start()
        return self

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def took(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        right = self.verified(request.headers, body)
        delivery = request.headers["webhook-id"]
        status = self.status
        if self.hold:
            self.hold.wait(20)
        self.calls.append((delivery, status, right, body))
        if 200 <= status < 300:
            self.taken.setdefault(delivery, json.loads(body))
        request.send_response(status)
        if 300 <= status < 400:
            request.send_header("Location", self.url)
        request.send_header("Content-Length", str(len(self.answer)))
        request.end_headers()
        request.wfile.write(self.answer)

    def verified(self, headers, body):
        key = base64.b64decode((self.secret or "").removeprefix("whsec_"))
        at = headers["webhook-timestamp"]
        signed = f"{headers['webhook-id']}.{at}.".encode() + body
        right = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        return (abs(time.time() - int(at)) < 300 and hmac.compare_digest(
            f"v1,{right}", headers["webhook-signature"]))

    def entries(self, kind=None):
        return [e for body in list(self.taken.values())
                for e in body["entries"] if kind in (None, e["kind"])]


def server_context(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(cert), str(key))
    return context
