"""An identity provider (OpenID Connect) that says what a test tells it to. Its
signatures are made by openssl, not by the code under test."""

import base64
import hashlib
import json
import re
import secrets
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, check=True,
                          capture_output=True).stdout


def raw_signature(der):
    """r and s of an ECDSA signature, 32 bytes each."""
    at, out = 2, b""
    for _ in range(2):
        size = der[at + 1]
        out += der[at + 2:at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + size
    return out


class Key:
    def __init__(self, directory, kid, rsa=True, bits=2048):
        self.kid, self.rsa = kid, rsa
        self.path = directory / f"{kid}.pem"
        if rsa:
            openssl("genrsa", "-out", self.path, bits)
        else:
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
                    "-out", self.path)

    def jwk(self):
        if self.rsa:
            n = re.search(rb"=(\w+)", openssl("rsa", "-in", self.path,
                                              "-noout", "-modulus"))[1]
            return {"kty": "RSA", "kid": self.kid, "use": "sig",
                    "n": b64(bytes.fromhex(n.decode())), "e": "AQAB"}
        point = openssl("ec", "-in", self.path, "-pubout", "-outform",
                        "DER")[-64:]
        return {"kty": "EC", "crv": "P-256", "kid": self.kid,
                "x": b64(point[:32]), "y": b64(point[32:])}

    def token(self, claims, **header):
        head = {"alg": "RS256" if self.rsa else "ES256", "kid": self.kid,
                **header}
        text = b64(json.dumps(head).encode()) + "." + b64(
            json.dumps(claims).encode())
        sig = openssl("dgst", "-sha256", "-sign", self.path,
                      data=text.encode())
        return text + "." + b64(sig if self.rsa else raw_signature(sig))


class Provider:
    client_id, secret = "headend", "provider secret"

    def __init__(self, directory):
        self.keys = [Key(directory, "one"), Key(directory, "two", rsa=False)]
        self.codes, self.asked = {}, []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.answer(provider.documents().get(self.path))

            def do_POST(self):
                form = dict(urllib.parse.parse_qsl(self.rfile.read(
                    int(self.headers["Content-Length"])).decode()))
                self.answer(provider.exchange(
                    form, self.headers.get("Authorization")))

            def answer(self, found):
                body = json.dumps(found or {"error": "invalid_grant"}).encode()
                self.send_response(200 if found else 400)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def documents(self):
        return {"/.well-known/openid-configuration": {
            "issuer": self.issuer,
            "authorization_endpoint": self.issuer + "/authorize?realm=1",
            "token_endpoint": self.issuer + "/token",
            "jwks_uri": self.issuer + "/keys"},
            "/keys": {"keys": [k.jwk() for k in self.keys]}}

    def code(self, asked, key=None, header=None, token=None, **claims):
        """What the browser would bring back, for what the server asked."""
        now = int(time.time())
        said = {"iss": self.issuer, "aud": self.client_id, "sub": "anna-1",
                "email": "anna@example.org", "email_verified": True,
                "iat": now, "exp": now + 300, "nonce": asked["nonce"],
                "auth_time": now, **claims}
        code = secrets.token_hex(8)
        signer = key or self.keys[0]
        self.codes[code] = (asked, token or signer.token(said,
                                                         **(header or {})))
        return code

    def exchange(self, form, authorization):
        asked, token = self.codes.pop(form.get("code"), (None, None))
        proof = base64.b64encode(f"{self.client_id}:{self.secret}".encode())
        good = asked and authorization == f"Basic {proof.decode()}" and (
            form["redirect_uri"] == asked["redirect_uri"]
            and form["grant_type"] == "authorization_code"
            and asked["code_challenge_method"] == "S256"
            and b64(hashlib.sha256(form["code_verifier"].encode()).digest())
            == asked["code_challenge"])
        return {"id_token": token, "token_type": "Bearer",
                "access_token": "x"} if good else None
