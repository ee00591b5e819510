"""The API as its own OpenAPI document describes it."""

import itertools
import json
import random
import re
import urllib.error
import urllib.parse
import urllib.request

import jsonschema

from .headend import Reply


class Operation:
    def __init__(self, document, path, method, about):
        self.document, self.path, self.method = document, path, method.upper()
        self.name = about["operationId"]
        self.right = about.get("x-right")
        self.critical = about.get("x-critical", False)
        self.public = about.get("security") == []
        self.people_only = about.get("security") == [{"session": []}]
        self.parameters = [self.resolved(p) for p in about["parameters"]]
        body = about.get("requestBody")
        self.body = body and body["content"]["application/json"]["schema"]
        self.responses = about["responses"]
        self.stream = "text/event-stream" in str(self.responses)

    def resolved(self, node):
        while "$ref" in node:
            found = self.document
            for part in node["$ref"][2:].split("/"):
                found = found[part]
            node = found
        return node

    def names(self, where):
        return [p["name"] for p in self.parameters if p["in"] == where]

    def url(self, values, **query):
        path = re.sub(r"{(\w+)}", lambda m: urllib.parse.quote(
            str(values[m.group(1)]), safe=""), self.path)
        return path + ("?" + urllib.parse.urlencode(query) if query else "")

    def check(self, reply):
        """The answer is one that the document describes."""
        if reply.status >= 400:
            kind = reply.headers.get("Content-Type", "")
            assert kind.startswith("application/problem+json"), (
                self.name, reply.status, kind)
            problem = reply.json
            assert problem["status"] == reply.status
            assert problem["title"] and problem["detail"], problem
            return
        described = self.responses.get(str(reply.status))
        assert described, f"{self.name} answers {reply.status}"
        content = described.get("content")
        if not content:
            assert reply.body == b"", (self.name, reply.body[:200])
            return
        if not reply.headers["Content-Type"].startswith("application/json"):
            return
        schema = dict(content["application/json"]["schema"])
        schema["components"] = self.document["components"]
        jsonschema.Draft202012Validator(schema).validate(reply.json)


def operations(headend):
    document = headend.get("/api/v1/openapi.json").json
    return [Operation(document, path, method, about)
            for path, methods in document["paths"].items()
            for method, about in methods.items()]


def send(headend, method, path, headers=None, body=None, raw=None):
    data = raw if raw is not None else (
        None if body is None else json.dumps(body).encode())
    request = urllib.request.Request(
        f"http://127.0.0.1:{headend.http_port}{path}", method=method,
        data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return Reply(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as e:
        return Reply(e.code, e.headers, e.read())


TEXTS = ["", "a", "ä€😀", "x" * 300, "' OR 1=1 --", "../../etc/passwd", "\\",
         "%00", "\u202e", "{}", "null", "-1", "1e400", "2026-02-30T00:00:00Z"]


def good(schema, rng):
    """A value that the schema allows."""
    kind = schema.get("type")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if kind == "integer":
        low = schema.get("minimum", 0)
        return rng.choice([low, schema.get("maximum", low + 5), low + 1])
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "array":
        least = max(schema.get("minItems", 0), rng.choice([0, 1]))
        return [good(schema.get("items", {"type": "string"}), rng)
                for _ in range(least)]
    if kind == "object":
        return {}
    if kind == "null":
        return None
    if schema.get("format") == "date-time":
        return rng.choice(["2026-01-15T12:00:00Z", "1999-12-31T23:59:60Z",
                           "2200-01-01T00:00:00+14:00"])
    if "pattern" in schema:
        return rng.choice(["0", "12.5", "-3"])
    text = rng.choice(["view", "demo", "a name", "x@example.org", "1", "ä"])
    return (text + "x" * schema.get("minLength", 0))[
        :schema.get("maxLength", 1000)]


def bad(rng):
    return rng.choice([*TEXTS, None, True, -1, 10**30, 1.5, [], {}, [[]],
                       {"a": {"b": 1}}, ["x"] * 100])


def body_for(schema, rng, wild):
    """A body: as described, or with `wild` something wrong in it."""
    body = {name: good(about, rng)
            for name, about in schema["properties"].items()
            if name in schema.get("required", []) or rng.random() < 0.7}
    for name in itertools.islice(body, 5):
        if wild and rng.random() < 0.5:
            body[name] = bad(rng)
    if wild and rng.random() < 0.2:
        body[rng.choice(["odd", "", "__proto__", "tenant_id"])] = bad(rng)
    return body


def seeded(seed):
    return random.Random(seed)
