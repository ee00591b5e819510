"""Signing in through an identity provider, and everything that it might say
wrongly or somebody might say in its name."""

import base64
import json
import re
import urllib.error
import urllib.parse
import urllib.request

import pytest
from harness import GOOD, Person, invite, signed_in
from harness.provider import Key, Provider, b64
from harness.totp import totp
from test_trust import guarded

ANNA = "anna@example.org"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Browser(Person):
    """Follows nothing by itself; keeps both cookies."""
    oidc = None

    def get(self, path):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.site.headend.http_port}{path}")
        if self.oidc:
            request.add_header("Cookie", f"a=b; headend_oidc={self.oidc}")
        try:
            reply = urllib.request.build_opener(NoRedirect).open(
                request, timeout=20)
        except urllib.error.HTTPError as e:
            reply = e
        cookie = reply.headers.get("Set-Cookie") or ""
        self.oidc = (re.findall(r"headend_oidc=(\w+)", cookie)
                     or [self.oidc])[0]
        self.cookie = (re.findall(r"headend_session=(\w+)", cookie)
                       or [self.cookie])[0]
        return reply.status, reply.headers

    def start(self, again=""):
        status, headers = self.get("/api/v1/oidc/start" + again)
        assert status == 302, status
        assert "SameSite=Lax" in headers["Set-Cookie"]
        url = urllib.parse.urlsplit(headers["Location"])
        assert url.path == "/authorize"
        return dict(urllib.parse.parse_qsl(url.query))

    def back(self, state, code, **more):
        return self.get("/api/v1/oidc/callback?" + urllib.parse.urlencode(
            {"state": state, "code": code, **more}))[0]


@pytest.fixture
def provider(site, tmp_path):
    site.headend.cli("keys", "init")
    provider = Provider(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text(provider.secret + "\n")
    site.headend.configure(
        oidc__issuer=provider.issuer, oidc__client_id=provider.client_id,
        oidc__client_secret_file=secret, oidc__name="the utility's login",
        http__public_url="https://headend.example/")
    site.tenant("demo")
    site.start()
    yield provider
    provider.stop()


def through(site, provider, **said):
    browser = Browser(site)
    asked = browser.start()
    return browser.back(asked["state"], provider.code(asked, **said)), browser


def test_who_has_an_account_signs_in_by_the_providers_word(site, provider):
    first = invite(site, ANNA)
    assert Person(site).call("GET", "/api/v1/oidc")[1] == {
        "name": "the utility's login"}
    status, browser = through(site, provider)
    assert status == 302
    who = browser.call("GET", "/api/v1/session")[1]
    assert who["email"] == ANNA and not who["must_change"]
    assert browser.call("GET", "/api/v1/meters")[0] == 200
    # The generated password, which nobody ever changed, opens nothing now.
    assert Person(site).login(ANNA, first)[0] == 401
    # From now on the subject counts, whatever the address is; ES256 too.
    status, browser = through(site, provider, key=provider.keys[1],
                              email="other@example.org")
    assert status == 302
    assert browser.call("GET", "/api/v1/session")[1]["email"] == ANNA
    # Another subject with Anna's address is not Anna.
    assert through(site, provider, sub="somebody else")[0] == 403
    assert site.sql("SELECT after FROM audit_entry WHERE action = "
                    "'oidc.link'") == [({"issuer": provider.issuer,
                                         "subject": "anna-1"},)]
    assert provider.secret not in site.headend.log()


def test_critical_acts_are_open_only_for_who_proved_it_just_now(site, provider):
    signed_in(site, ANNA)
    act = ("PATCH", "/api/v1/tenant/protection", {"second_factor": False})
    for auth_time, status in ((None, 403), (1, 403)):
        browser = through(site, provider, auth_time=auth_time)[1]
        browser.call("GET", "/api/v1/session")
        assert browser.call(*act)[0] == status
    browser = Browser(site)
    asked = browser.start("?again=true")
    assert asked["prompt"] == "login" and asked["max_age"] == "0"
    assert browser.back(asked["state"], provider.code(asked)) == 302
    browser.call("GET", "/api/v1/session")
    assert browser.call(*act)[0] == 200


WRONG = [
    {"nonce": "another"}, {"aud": "another"}, {"aud": ["another", "headend"],
                                               "azp": "another"},
    {"iss": "https://login.example"}, {"exp": 1000}, {"iat": 1 << 40},
    {"email_verified": False}, {"email_verified": "true"}, {"sub": ""},
    {"email": "nobody@example.org"}, {"header": {"alg": "RS512"}},
    {"header": {"alg": "ES256"}}, {"header": {"kid": "two"}},
    {"header": {"crit": ["x"]}}]


def test_what_the_provider_says_wrongly_is_not_believed(site, provider):
    signed_in(site, ANNA)
    for said in WRONG:
        status, browser = through(site, provider, **said)
        assert status == 403 and browser.cookie is None, said


def test_tokens_that_others_made_are_not_believed(site, provider, tmp_path):
    signed_in(site, ANNA)
    other = Key(tmp_path, "three")
    other.kid = "one"
    assert through(site, provider, key=other)[0] == 403
    weak = Key(tmp_path, "weak", bits=1024)
    provider.keys.append(weak)
    assert through(site, provider, key=weak)[0] == 403

    def forged(change):
        browser = Browser(site)
        asked = browser.start()
        code = provider.code(asked)
        head, body, sig = provider.codes[code][1].split(".")
        provider.codes[code] = (asked, change(head, body, sig))
        return browser.back(asked["state"], code)

    def other_body(head, body, sig):
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        claims["sub"] = "root"
        return f"{head}.{b64(json.dumps(claims).encode())}.{sig}"

    none = b64(b'{"alg":"none"}')
    for change in (other_body, lambda h, b, s: f"{none}.{b}.",
                   lambda h, b, s: f"{none}.{b}.{s}",
                   lambda h, b, s: f"{h}.{b}.", lambda h, b, s: f"{h}.{b}",
                   lambda h, b, s: "x", lambda h, b, s: f"{h}.{b}.{s[:-4]}"):
        assert forged(change) == 403
    assert forged(lambda *parts: ".".join(parts)) == 302  # as it was


def test_an_answer_counts_once_and_in_the_browser_that_asked(site, provider):
    signed_in(site, ANNA)
    browser = Browser(site)
    asked = browser.start()
    code = provider.code(asked)
    assert Browser(site).back(asked["state"], code) == 403
    assert browser.back("x", code) == 403
    stranger = Browser(site)
    theirs = stranger.start()
    assert stranger.back(theirs["state"], code) == 403  # PKCE: another's code
    code = provider.code(asked)
    assert browser.back(asked["state"], code, iss="https://evil") == 403
    assert browser.back(asked["state"], code) == 302
    assert browser.back(asked["state"], code) == 403
    assert browser.get("/api/v1/oidc/callback?error=access_denied&state="
                       + asked["state"])[0] == 403


def test_a_provider_that_is_away_or_none_stops_nobody_else(site, provider):
    person = signed_in(site, ANNA)
    provider.stop()
    assert Browser(site).get("/api/v1/oidc/start")[0] == 403
    assert "sign-in through the provider failed" in site.headend.log()
    assert Person(site).login(ANNA, GOOD)[0] == 200
    site.headend.stop()
    site.headend.configure(oidc__issuer="")
    site.start()
    assert person.call("GET", "/api/v1/oidc")[1] == {"name": None}
    assert Browser(site).get("/api/v1/oidc/start")[0] == 404


# ---- a second factor ----

def demanded(site):
    """Anna's tenant demands one from now on."""
    invite(site, ANNA)
    site.sql("UPDATE tenant SET second_factor = true WHERE name = 'demo' "
             "RETURNING 1")


def lacks(browser):
    """As the session says, and as its requests are treated."""
    lacking = browser.call("GET", "/api/v1/session")[1]["lacks_factor"]
    status, why = browser.call("GET", "/api/v1/meters")
    assert (status, why.get("field")) == (
        (403, "second_factor") if lacking else (200, None))
    return lacking


def again(site, provider, **said):
    """Just now, so that critical acts are open."""
    browser = Browser(site)
    asked = browser.start("?again=true")
    assert browser.back(asked["state"], provider.code(asked, **said)) == 302
    return browser


def test_providers_second_factor_counts_where_the_operator_says_so(
        site, provider):
    demanded(site)
    assert lacks(through(site, provider, amr=["pwd", "mfa"])[1])
    site.headend.stop()
    site.headend.configure(oidc__second_factor="otp, mfa,https://refeds/mfa")
    site.start()
    for said, lacking in (
            ({"amr": ["pwd", "mfa"]}, False), ({"amr": ["otp"]}, False),
            ({"acr": "https://refeds/mfa"}, False), ({"amr": ["pwd"]}, True),
            ({"amr": "mfa"}, True), ({"acr": ["mfa"]}, True), ({}, True),
            ({"amr": [["mfa"], {"a": "mfa"}, "otp,", ""]}, True)):
        assert lacks(through(site, provider, **said)[1]) == lacking, said
    assert site.sql("SELECT count(*) FROM audit_entry WHERE action = 'login' "
                    "AND after ->> 'second_factor' = 'true'") == [(3,)]


def test_our_own_second_factor_is_asked_after_the_providers_word(
        site, provider):
    demanded(site)
    browser = again(site, provider)
    assert lacks(browser)
    assert browser.call("POST", "/api/v1/session/factor",
                        {"code": "123456"})[0] == 409  # there is none yet
    secret, recovery = guarded(browser)
    assert not lacks(browser)
    # From now on its code is asked for, whatever else is known.
    browser = again(site, provider)
    assert lacks(browser)
    status, why = browser.call("DELETE", "/api/v1/totp")
    assert (status, why["field"]) == (403, "second_factor")
    code = totp(secret)
    assert prove(browser, code) == (200, None) and not lacks(browser)
    other = again(site, provider)
    assert lacks(other)
    assert prove(other, code) == (403, "code") and lacks(other)  # used
    assert prove(other, recovery[0]) == (200, None) and not lacks(other)
    assert other.call("DELETE", "/api/v1/totp")[0] == 204
    assert lacks(other) and lacks(browser)


def prove(browser, code):
    status, said = browser.call("POST", "/api/v1/session/factor",
                                {"code": code})
    return status, said.get("field")


def test_own_second_factor_is_asked_where_no_tenant_demands_it(site, provider):
    secret, _ = guarded(signed_in(site, ANNA))
    browser = through(site, provider)[1]
    assert lacks(browser)  # and the session is known
    for _ in range(5):
        assert prove(browser, "000000") == (403, "code")
    assert prove(browser, totp(secret))[0] == 429  # guessing is slowed
