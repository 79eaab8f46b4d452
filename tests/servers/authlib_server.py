"""A real authorization server for the tests: Authlib on Flask, tokens kept in memory.

The protocol is Authlib's: its token endpoint, client authentication (HTTP Basic
or credentials in the body), RefreshTokenGrant, ResourceProtector and
BearerTokenValidator. Authlib leaves storage and policy to its user; that is what
is in this file, and for the ways to a first token in authlib_enrol.py. It prints
one JSON line when it listens and ends when standard input closes:

  {"token_url", "resource_url", "client_id", "client_secret",
   "seeds": [{"name": "g0", "access_token", "refresh_token", "token_type",
              "expires_in", "scope"}, …],
   "issuer", "authorize_url", "device_url", "verification_url", "polls_url",
   "userinfo_url", "revoke_url", "metadata_url",
   "web_client_id", "web_client_secret", "native_client_id", "password"}

Unlike django-oauth-toolkit, a refresh leaves the access tokens before it valid
to their own end, and inside --grace an old refresh token gives one more new pair.

The web client (confidential) and the native one (public) get codes and device codes.
PKCE with S256 is required, the callback is / or /callback on the loopback, at any
port, or a --redirect-uri, and redirects name the issuer (RFC 9207). alice and bob
say yes or no on one page, with `password`. Who it was, is the `sub` at the userinfo URL.
"""

import dataclasses
import os
import secrets
import threading
import time

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, on the loopback only

from authlib.integrations.flask_oauth2 import (
    AuthorizationServer, ResourceProtector, current_token,
)
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from flask import Flask

import authlib_enrol
import serving

AUTH_METHODS = authlib_enrol.AUTH_METHODS


def main():
    parser = serving.options(__doc__)
    parser.add_argument("--reuse-revokes", action="store_true",
                        help="a rotated refresh token that comes back revokes its family")
    authlib_enrol.options(parser)
    args = parser.parse_args()
    members = serving.new_client() | serving.new_clients()
    names = [f"g{n}" for n in range(args.grants)]
    uris = serving.LOOPBACK + args.redirect_uri
    clients = [
        Client(members["client_id"], members["client_secret"]),
        Client(members["web_client_id"], members["web_client_secret"], uris),
        Client(members["native_client_id"], None, uris),
    ]
    app = build(args, clients, set(names), members["password"])
    server = serving.Server(args, app, "/oauth/token", "/resource")
    seeds = server.seed(members, names, members["password"])
    server.run(members | places(server.origin), seeds)


def places(origin):
    return {
        "issuer": origin,
        "authorize_url": origin + "/oauth/authorize",
        "device_url": origin + "/oauth/device_authorization",
        "verification_url": origin + "/device",
        "polls_url": origin + "/device/polls",
        "userinfo_url": origin + "/userinfo",
        "revoke_url": origin + "/oauth/revoke",
        "metadata_url": origin + "/.well-known/oauth-authorization-server",
    }


@dataclasses.dataclass
class Client(ClientMixin):
    client_id: str
    client_secret: str | None  # None: a public client
    redirect_uris: list = ()

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return None

    def check_redirect_uri(self, redirect_uri):
        return serving.without_loopback_port(redirect_uri) in self.redirect_uris

    def check_response_type(self, response_type):
        return response_type == "code"

    def get_allowed_scope(self, scope):
        return " ".join(s for s in (scope or "").split() if s in ("read", "write"))

    def check_client_secret(self, client_secret):
        secret = self.client_secret
        return secret is not None and secrets.compare_digest(secret, client_secret)

    def check_endpoint_auth_method(self, method, endpoint):
        return (method == "none") == (self.client_secret is None) and method in AUTH_METHODS

    def check_grant_type(self, grant_type):
        return True


@dataclasses.dataclass(eq=False)
class Token(TokenMixin):
    user: str
    scope: str
    client_id: str
    expires_at: float
    family: list  # every token that came from the same first grant
    revoked: bool = False
    rotated_at: float | None = None

    def check_client(self, client):
        return self.client_id == client.client_id

    def get_scope(self):
        return self.scope

    def is_expired(self):
        return time.monotonic() >= self.expires_at

    def is_revoked(self):
        return self.revoked


def build(args, clients, users, given_password):
    by_access, by_refresh, lock = {}, {}, threading.Lock()

    def save_token(token, request):
        before = request.refresh_token  # None: the first of a family
        family = before.family if before else []
        saved = Token(request.user, token["scope"], request.client.client_id,
                      time.monotonic() + token["expires_in"], family)
        family.append(saved)
        by_access[token["access_token"]] = saved
        if "refresh_token" in token:
            by_refresh[token["refresh_token"]] = saved

    class PasswordGrant(grants.ResourceOwnerPasswordCredentialsGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

        def authenticate_user(self, username, password):
            return username if username in users and password == given_password else None

    class RefreshTokenGrant(grants.RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
        INCLUDE_NEW_REFRESH_TOKEN = args.rotate

        def authenticate_refresh_token(self, refresh_token):
            token = by_refresh.get(refresh_token)
            if token is None or token.revoked:
                return None
            if token.rotated_at is not None and time.monotonic() >= token.rotated_at + args.grace:
                if args.reuse_revokes:
                    for member in token.family:
                        member.revoked = True
                return None
            return token

        def authenticate_user(self, refresh_token):
            return refresh_token.user

        def revoke_old_credential(self, refresh_token):
            if args.rotate and refresh_token.rotated_at is None:
                refresh_token.rotated_at = time.monotonic()

    class Validator(BearerTokenValidator):
        def authenticate_token(self, token_string):
            return by_access.get(token_string)

    app = Flask(__name__)
    app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
    app.config["OAUTH2_SCOPES_SUPPORTED"] = ["read", "write"]
    app.config["OAUTH2_TOKEN_EXPIRES_IN"] = dict.fromkeys(
        ["password", "refresh_token", "authorization_code", DEVICE_CODE_GRANT_TYPE],
        args.access_lifetime,
    )
    by_id = {client.client_id: client for client in clients}
    server = AuthorizationServer(app, by_id.get, save_token)
    server.register_grant(PasswordGrant)
    server.register_grant(RefreshTokenGrant)
    authlib_enrol.register(
        app, server, args, given_password, lambda value: by_refresh.get(value) or by_access.get(value)
    )
    require_oauth = ResourceProtector()
    require_oauth.register_token_validator(Validator())

    @app.post("/oauth/token")
    def token():
        with lock:  # look-up, new pair and revocation are one step
            return server.create_token_response()

    @app.get("/resource")
    @require_oauth()
    def resource():
        return {"ok": True, "user": current_token.user}

    @app.get("/userinfo")
    @require_oauth()
    def userinfo():
        return {"sub": current_token.user}

    return app


if __name__ == "__main__":
    main()
