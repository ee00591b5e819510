"""A person with a browser: keeps its cookie, sends the CSRF word."""

import json
import re
import urllib.error
import urllib.request

GOOD = "seven green valves hum"


class Person:
    def __init__(self, site):
        self.site, self.cookie, self.csrf = site, None, None

    def call(self, method, path, body=None, **headers):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.site.headend.http_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers})
        if self.cookie:
            request.add_header("Cookie", f"headend_session={self.cookie}")
        if self.csrf:
            request.add_header("X-CSRF-Token", self.csrf)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return self.took(reply.status, reply)
        except urllib.error.HTTPError as e:
            return self.took(e.code, e)

    def took(self, status, reply):
        text = reply.read()
        cookie = re.match(r"headend_session=(\w*)",
                          reply.headers.get("Set-Cookie") or "")
        if cookie:
            self.cookie = cookie.group(1)
            self.attributes = reply.headers["Set-Cookie"]
        found = json.loads(text) if text else None
        if isinstance(found, dict) and "csrf" in found:
            self.csrf = found["csrf"]
        return status, found

    def login(self, email, password):
        return self.call("POST", "/api/v1/login",
                         {"email": email, "password": password})


def invite(site, email, tenant="demo", role="tenant admin"):
    out = site.headend.cli_json("account", "add", email, "--tenant", tenant,
                                "--role", role)
    return out["password"]


def signed_in(site, email, tenant="demo", role="tenant admin"):
    person = Person(site)
    first = invite(site, email, tenant, role)
    assert person.login(email, first)[0] == 200
    assert person.call("POST", "/api/v1/password",
                       {"current": first, "password": GOOD})[0] == 204
    status, who = person.call("GET", "/api/v1/session")
    assert status == 200 and not who["must_change"]
    return person
