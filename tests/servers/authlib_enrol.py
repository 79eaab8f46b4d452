"""The ways to a first token at authlib_server.py: code with PKCE, device, revocation.

The protocol is Authlib's again (AuthorizationCodeGrant, CodeChallenge, IssuerParameter,
DeviceAuthorizationEndpoint, DeviceCodeGrant, RevocationEndpoint); here are storage,
policy and the two pages, each of which asks for a name, the password and a decision.
"""

import dataclasses
import secrets
import time

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, InvalidRequestError, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint as Revocation
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import (
    DeviceAuthorizationEndpoint, DeviceCodeGrant as DeviceGrant, DeviceCredentialDict,
)
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import render_template_string, request

import serving

AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]
PAGE = """<!DOCTYPE html><title>Allow?</title>
<h1>{{ heading }}</h1>
<p id="message">{{ message }}</p>
{% if asks %}<form method="post">
  {% if code is not none %}<input name="user_code" placeholder="Code" value="{{ code }}">{% endif %}
  <input name="username" placeholder="Name">
  <input name="password" type="password" placeholder="Password">
  <button name="decision" value="allow">Allow</button>
  <button name="decision" value="deny">Deny</button>
</form>{% endif %}
"""


def options(parser):
    add = parser.add_argument
    add("--code-lifetime", type=float, default=60, metavar="SECONDS")
    add("--device-lifetime", type=int, default=600, metavar="SECONDS")
    add("--device-interval", type=int, default=5, metavar="SECONDS")
    add("--slow-down", type=int, default=0, metavar="N",
        help="so many polls for each device code are told to slow down, in time or not")
    add("--redirect-issuer", metavar="ISSUER", help="name this one in redirects, as a mix-up would")


def issuer():
    return request.host_url.rstrip("/")


def register(app, server, args, password, tokens):
    """`tokens(value, hint)` finds a token, whichever of a pair it is."""
    register_codes(app, server, args, password)
    register_devices(app, server, args, password)
    register_revocation(app, server, tokens)

    @app.get("/.well-known/oauth-authorization-server")
    def metadata():
        return {
            "issuer": issuer(),
            "authorization_endpoint": issuer() + "/oauth/authorize",
            "token_endpoint": issuer() + "/oauth/token",
            "device_authorization_endpoint": issuer() + "/oauth/device_authorization",
            "revocation_endpoint": issuer() + "/oauth/revoke",
            "scopes_supported": ["read", "write"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token", DeviceGrant.GRANT_TYPE],
            "token_endpoint_auth_methods_supported": AUTH_METHODS,
            "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }


def page(heading, message="", status=200, asks=True, code=None):
    shown = render_template_string(PAGE, heading=heading, message=message, asks=asks, code=code)
    return shown, status


def person(password):
    """Who sent the form; None when name or password is wrong."""
    name, given = request.form.get("username"), request.form.get("password", "")
    return name if name in serving.PEOPLE and secrets.compare_digest(given, password) else None


@dataclasses.dataclass
class Code(AuthorizationCodeMixin):
    client_id: str
    user: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str
    expires_at: float

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


class S256(CodeChallenge):
    """PKCE for every client, and no `plain`."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def validate_code_challenge(self, grant, redirect_uri):
        for needed in ("code_challenge", "code_challenge_method"):
            if not grant.request.payload.data.get(needed):
                raise InvalidRequestError(f"Missing '{needed}'")
        super().validate_code_challenge(grant, redirect_uri)


def register_codes(app, server, args, password):
    codes = {}

    class CodeGrant(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

        def save_authorization_code(self, code, request):
            asked = request.payload
            codes[code] = Code(
                request.client.client_id, request.user, asked.redirect_uri, request.scope,
                asked.data["code_challenge"], asked.data["code_challenge_method"],
                time.monotonic() + args.code_lifetime,
            )

        def query_authorization_code(self, code, client):
            found = codes.get(code)
            good = found and found.client_id == client.client_id
            return found if good and time.monotonic() < found.expires_at else None

        def delete_authorization_code(self, code):
            for value in [value for value, kept in codes.items() if kept is code]:
                del codes[value]

        def authenticate_user(self, code):
            return code.user

    class Issuer(IssuerParameter):
        def get_issuer(self):
            return args.redirect_issuer or issuer()

    server.register_grant(CodeGrant, [S256(required=True)])
    server.register_extension(lambda server: Issuer()(server))

    @app.route("/oauth/authorize", methods=["GET", "POST"])
    def authorize():
        try:
            grant = server.get_consent_grant()
        except OAuth2Error as error:
            answer = server.handle_error_response(None, error)
            Issuer().add_issuer_parameter(server, answer)  # the hook is for the others only
            return answer
        heading = f"Allow {grant.client.client_id} to use {grant.request.scope or 'nothing'}?"
        if request.method == "GET":
            return page(heading)
        user = person(password)
        if user is None:
            return page(heading, "Wrong name or password.", 403)
        allowed = request.form.get("decision") == "allow"
        return server.create_authorization_response(grant=grant, grant_user=allowed and user)


def register_devices(app, server, args, password):
    pending, decided, polls = {}, {}, []  # by device code; by user code; times

    class Endpoint(DeviceAuthorizationEndpoint):
        CLIENT_AUTH_METHODS = AUTH_METHODS
        EXPIRES_IN, INTERVAL = args.device_lifetime, args.device_interval

        def get_verification_uri(self):
            return issuer() + "/device"

        def save_device_credential(self, client_id, scope, data):
            pending[data["device_code"]] = DeviceCredentialDict(
                data, client_id=client_id, scope=scope, polled=None, slowed=0,
                expires_at=time.time() + data["expires_in"],
            )

    class Grant(DeviceGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

        def query_device_credential(self, device_code):
            polls.append(time.monotonic())
            return pending.get(device_code)

        def query_user_grant(self, user_code):
            return decided.get(user_code)

        def should_slow_down(self, credential):
            now, before = time.monotonic(), credential["polled"]
            credential["polled"] = now
            hurried = before is not None and now - before < credential["interval"]
            if hurried or credential["slowed"] < args.slow_down:
                credential["slowed"] += 1
                credential["interval"] += 5  # RFC 8628, section 3.5
                return True
            return False

        def create_token_response(self):
            answer = super().create_token_response()
            del pending[self.request.credential["device_code"]]
            return answer

    server.register_grant(Grant)
    server.register_endpoint(Endpoint)

    @app.post("/oauth/device_authorization")
    def device_authorization():
        return server.create_endpoint_response(Endpoint.ENDPOINT_NAME)

    @app.get("/device/polls")
    def device_polls():
        """When device codes were polled for, in seconds since the first time."""
        return [at - polls[0] for at in polls]

    @app.route("/device", methods=["GET", "POST"])
    def device():
        heading, code = "Allow a device?", request.values.get("user_code", "").strip().upper()
        if request.method == "GET":
            return page(heading, code=code)
        found = [kept for kept in pending.values() if kept["user_code"] == code]
        if not found or found[0].is_expired():
            return page(heading, "There is no such code.", 404, code=code)
        user = person(password)
        if user is None:
            return page(heading, "Wrong name or password.", 403, code=code)
        allowed = request.form.get("decision") == "allow"
        decided[code] = (user, allowed)
        return page("Device allowed" if allowed else "Device denied", asks=False)


def register_revocation(app, server, tokens):
    class Endpoint(Revocation):
        CLIENT_AUTH_METHODS = AUTH_METHODS

        def query_token(self, token_string, token_type_hint):
            return tokens(token_string)

        def revoke_token(self, token, request):
            for member in token.family:
                member.revoked = True

    server.register_endpoint(Endpoint)

    @app.post("/oauth/revoke")
    def revoke():
        return server.create_endpoint_response(Endpoint.ENDPOINT_NAME)
