"""A real authorization server for the tests: Authlib on Flask, tokens kept in memory.

The protocol is Authlib's: its token endpoint, client authentication (HTTP Basic
or credentials in the body), RefreshTokenGrant, ResourceProtector and
BearerTokenValidator. Authlib leaves storage and policy to its user; that is what
is in this file. It prints one JSON line when it listens and ends when standard
input closes:

  {"token_url", "resource_url", "client_id", "client_secret",
   "seeds": [{"name": "g0", "access_token", "refresh_token", "token_type",
              "expires_in", "scope"}, …]}

Unlike django-oauth-toolkit, a refresh leaves the access tokens before it valid
to their own end, and inside --grace an old refresh token gives one more new pair.
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
from flask import Flask

import serving

AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


def main():
    parser = serving.options(__doc__)
    parser.add_argument("--reuse-revokes", action="store_true",
                        help="a rotated refresh token that comes back revokes its family")
    args = parser.parse_args()
    client, names = serving.new_client(), [f"g{n}" for n in range(args.grants)]
    password = secrets.token_urlsafe()
    app = build(args, Client(**client), set(names), password)
    server = serving.Server(args, app, "/oauth/token", "/resource")
    server.run(client, server.seed(client, names, password))


@dataclasses.dataclass
class Client(ClientMixin):
    client_id: str
    client_secret: str

    def get_allowed_scope(self, scope):
        return " ".join(s for s in (scope or "").split() if s in ("read", "write"))

    def check_client_secret(self, client_secret):
        return secrets.compare_digest(self.client_secret, client_secret)

    def check_endpoint_auth_method(self, method, endpoint):
        return method in AUTH_METHODS

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


def build(args, client, users, given_password):
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
    app.config["OAUTH2_TOKEN_EXPIRES_IN"] = dict.fromkeys(
        ["password", "refresh_token"], args.access_lifetime
    )
    server = AuthorizationServer(
        app, lambda client_id: client if client_id == client.client_id else None, save_token
    )
    server.register_grant(PasswordGrant)
    server.register_grant(RefreshTokenGrant)
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

    return app


if __name__ == "__main__":
    main()
