"""Signing in at an OpenID Connect provider: code flow with PKCE.  What comes back is believed only if everything fits.

What must be remembered between leaving and coming back is one word, in a cookie of that browser.  Nonce and verifier are made from it by
this installation's key: a login needs no memory here and may end at another service than it began.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec
from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from itsdangerous import BadSignature, URLSafeSerializer
from joserfc import jwt
from joserfc.errors import ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from exporters.access import keys
from exporters.access.hosts import loopback, safe
from exporters.access.people import Person
from exporters.access.rules import Rules
from pipeline import clock, logs
from pipeline.errors import ConfigError, RequestError, Unavailable
from pipeline.settings import Settings

log = logs.logger("login")

CALLBACK = "/login/callback"
WAY_MS = 15 * 60 * 1000  # passwords, second factors and telephones take their time
NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
ANSWER_SECONDS = 10.0
# Signatures that only the provider can make: never one that our own secret, or nothing at all, would verify.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SAID_NO = {
    "access_denied": "you, or a rule there, said no",
    "login_required": "you must sign in there first",
    "consent_required": "you must agree there first",
    "interaction_required": "it wants to ask you something first",
    "server_error": "it has a fault of its own; try again",
    "temporarily_unavailable": "it is busy; try again in a moment",
}
UNFIT = {
    "iss": "it comes from another issuer",
    "aud": "it was made for another service",
    "azp": "it was made for another service",
    "exp": "it is too old; check that the clocks of both sides are right",
    "nbf": "it is not valid yet; check that the clocks of both sides are right",
    "iat": "it is from the future; check that the clocks of both sides are right",
    "nonce": "it belongs to another login",
    "at_hash": "it belongs to another access token",
}


class Way(msgspec.Struct, frozen=True):
    """A login on its way, in the cookie of the browser that began it.  `back` is the page that was asked for; `until` UTC ms."""

    state: str
    back: str
    until: int


# Learned before requests in several threads use it first: see pipeline/model/dialects.py.
msgspec.json.Decoder(Way)


class Provider:
    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError, all faults at once."""
        self.issuer = settings.login_issuer
        self.rules = Rules.of(settings)
        faults = self.rules.faults
        if not settings.login_client_id:
            faults.append("ACTIVITY_LOGIN_CLIENT_ID is missing")
        for name, url in (("LOGIN_ISSUER", self.issuer), ("PUBLIC_URL", settings.public_url)):
            if not safe(url):
                faults.append(f"ACTIVITY_{name} must be an https address ({url or 'it is empty'})")
        if faults:
            raise ConfigError(f"login: {'; '.join(faults)}")
        self.name = urlsplit(self.issuer).hostname or self.issuer
        self._settings = settings
        self._key = keys.signing_key(settings).encode()
        self._signer = URLSafeSerializer(self._key, salt="login")
        self._redirect = settings.site_url + CALLBACK
        self._learning = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None

    @classmethod
    def configured(cls, settings: Settings) -> Provider | None:
        """Raises ConfigError."""
        return cls(settings) if settings.login_issuer else None

    def leave(self, back: str) -> tuple[str, str]:
        """Where to send the browser, and the cookie it must bring back.  Raises Unavailable."""
        metadata = self._described(anew=True)  # nobody is sent to a provider that is away
        way = Way(secrets.token_urlsafe(24), back, clock.now_ms() + WAY_MS)
        with self._http() as session:
            url, _ = self._client(session).create_authorization_url(
                metadata["authorization_endpoint"],
                state=way.state,
                code_verifier=self._derived("verifier", way),
                nonce=self._derived("nonce", way),
            )
        return str(url), str(self._signer.dumps(msgspec.to_builtins(way)))

    def arrive(self, cookie: str, answer: Mapping[str, str]) -> tuple[Person, str]:
        """Who came back, and the page they had asked for.  Raises RequestError, Unavailable."""
        if (
            answer.get("error") in SAID_NO
        ):  # some providers forget to say which login they mean; nobody is signed in by it
            raise _no(f"The provider did not sign you in: {SAID_NO[answer['error']]} ({answer['error']}).")
        way = self._way(cookie, answer.get("state", ""))
        if "error" in answer:
            said = " ".join(x for x in (answer["error"], answer.get("error_description", "")) if x)
            raise _no(f"The provider did not sign you in: {_printable(said)}.")
        metadata = self._described()
        if answer.get("iss", metadata["issuer"]) != metadata["issuer"]:
            raise _no("This answer comes from another provider. Sign in again.")
        with self._http() as session:
            token = self._token(session, answer.get("code", ""), way)
            claims = self._claims(session, token, way)
            if self.rules.name_claim not in claims or self.rules.group_claim not in claims:
                more = self._more(session, token)
                if more.get("sub", claims["sub"]) != claims["sub"]:
                    raise _no("The provider's answers speak of two people. Sign in again.")
                claims = more | claims
        return self.rules.person(claims), way.back

    def _way(self, cookie: str, state: str) -> Way:
        try:
            way = msgspec.convert(self._signer.loads(cookie), Way)
        except (BadSignature, msgspec.ValidationError):
            way = None
        if way is None or not hmac.compare_digest(way.state.encode(), state.encode("utf-8", "replace")):
            raise _no("This login did not begin in this browser, or was finished before. Sign in again.")
        if way.until < clock.now_ms():
            raise _no("This login took too long. Sign in again.")
        return way

    def _described(self, *, anew: bool = False) -> dict[str, Any]:
        """The provider's description of itself."""
        with self._learning:
            if anew or not self._metadata:
                with self._http() as session:
                    found = self._json(session, self.issuer.rstrip("/") + "/.well-known/openid-configuration")
                if str(found.get("issuer", "")).rstrip("/") != self.issuer.rstrip("/") or not all(
                    map(found.get, NEEDED)
                ):
                    raise self._away("it describes another issuer than ACTIVITY_LOGIN_ISSUER, or not all of itself")
                self._metadata = found
            return self._metadata

    def _client(self, session: httpx.Client) -> OAuth2Client:
        s = self._settings
        return OAuth2Client(
            session,
            client_id=s.login_client_id,
            scope=s.login_scopes,
            redirect_uri=self._redirect,
            code_challenge_method="S256",
        )

    def _token(self, session: httpx.Client, code: str, way: Way) -> dict[str, Any]:
        s, more, auth = self._settings, {}, httpx.Auth()
        ways = self._metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if not s.login_client_secret or "client_secret_basic" not in ways:
            more = {"client_id": s.login_client_id}
            more |= {"client_secret": s.login_client_secret} if s.login_client_secret else {}
        else:  # both are form-encoded before, as the standard has it
            auth = httpx.BasicAuth(quote(s.login_client_id, safe=""), quote(s.login_client_secret, safe=""))
        try:
            return dict(
                self._client(session).fetch_token(
                    self._metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=self._derived("verifier", way),
                    auth=auth,
                    **more,
                )
            )
        except OAuth2Error as error:
            if error.error == "invalid_client":
                log.warning("the provider does not accept ACTIVITY_LOGIN_CLIENT_ID and _SECRET")
                raise _no(
                    "The provider does not know this service. Its administrator must correct client id and secret."
                ) from None
            raise _no(
                f"The provider did not accept this login ({_printable(str(error.error))}). Sign in again."
            ) from None
        except (httpx.HTTPError, ValueError) as error:
            raise self._away(type(error).__name__) from None

    def _claims(self, session: httpx.Client, token: Mapping[str, Any], way: Way) -> dict[str, Any]:
        """What the ID token says, when everything fits."""
        offered = self._metadata.get("id_token_signing_alg_values_supported", ["RS256"])
        registry = JWSRegistry(algorithms=[a for a in ALGORITHMS if a in offered], strict_check_header=False)
        text = str(token.get("id_token", ""))
        try:
            try:
                read = jwt.decode(text, self._key_set(session), registry=registry)
            except InvalidKeyIdError:  # the provider changed its keys
                read = jwt.decode(text, self._key_set(session, anew=True), registry=registry)
            claims = CodeIDToken(
                read.claims,
                read.header,
                {
                    "iss": {"essential": True, "value": self._metadata["issuer"]},
                    "aud": {"essential": True, "value": self._settings.login_client_id},
                },
                {
                    "nonce": self._derived("nonce", way),
                    "client_id": self._settings.login_client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(now=clock.now_ms() // 1000, leeway=self._settings.login_leeway_seconds)
        except ClaimError as error:
            why = UNFIT.get(error.claim, f"{_printable(error.claim)} does not fit")
            raise _no(f"The provider's answer cannot be used: {why}. Sign in again.") from None
        except (JoseError, ValueError):
            raise _no("The provider's answer is not signed by the provider. Sign in again.") from None
        return dict(claims)

    def _more(self, session: httpx.Client, token: Mapping[str, Any]) -> dict[str, Any]:
        """What the provider says elsewhere; some keep groups and addresses out of the ID token."""
        if "userinfo_endpoint" not in self._metadata or "access_token" not in token:
            return {}
        return self._json(session, self._metadata["userinfo_endpoint"], bearer=str(token["access_token"]))

    def _key_set(self, session: httpx.Client, *, anew: bool = False) -> KeySet:
        if self._keys is None or anew:
            self._keys = KeySet.import_key_set(self._json(session, self._metadata["jwks_uri"]))  # type: ignore[arg-type]
        return self._keys

    def _json(self, session: httpx.Client, url: str, *, bearer: str = "") -> dict[str, Any]:
        try:
            answer = session.get(url, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})
            answer.raise_for_status()
            return dict(answer.json())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError) as error:
            raise self._away(type(error).__name__) from None

    def _http(self) -> httpx.Client:
        # A proxy on the way out is the machine's business, but never stands between this machine and itself.
        return httpx.Client(timeout=ANSWER_SECONDS, trust_env=not loopback(urlsplit(self.issuer).hostname or ""))

    def _derived(self, what: str, way: Way) -> str:
        return hmac.new(self._key, f"{what} {way.state}".encode(), hashlib.sha256).hexdigest()

    def _away(self, why: str) -> Unavailable:
        log.warning("the login provider cannot be used", issuer=self.issuer, reason=why)
        return Unavailable(
            f"Signing in is not possible for now: the provider at {self.issuer} does not answer as it should ({why}). "
            "Try again in a moment; an administrator may sign in with `activity link` on the machine of the service.",
            retry_after_seconds=10,
        )


def _printable(text: str) -> str:
    return "".join(c for c in text[:200] if c.isprintable())


def _no(why: str) -> RequestError:
    return RequestError(why, status=403, code="login_refused")
