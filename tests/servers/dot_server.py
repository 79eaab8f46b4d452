"""A real authorization server for the tests: django-oauth-toolkit on Django and SQLite.

The OAuth is the toolkit's: its urls, views, models and `@protected_resource()`,
unpatched. This file is only the settings of a Django project, its clients and the
users. It prints one JSON line when it listens and ends when standard input closes:

  {"token_url", "resource_url", "client_id", "client_secret",
   "seeds": [{"name": "g0", "access_token", "refresh_token", "token_type",
              "expires_in", "scope"}, …],
   "issuer", "authorize_url", "userinfo_url", "revoke_url", "metadata_url",
   "web_client_id", "web_client_secret", "native_client_id", "password"}

Each client takes HTTP Basic or credentials in the body. The seeds belong to the
first. The web client (confidential) and the native one (public) are for the code
flow: PKCE is required, and the callback is / or /callback on the loopback, at any
port, or a --redirect-uri. alice and bob log in at Django's own page with `password`
and approve on the toolkit's form. Redirects name the issuer (RFC 9207); the scope
`openid` gives an id token (RS256) whose `sub` the userinfo endpoint has too.

Started again on the same --dir it goes on with the same clients and grants, and
prints the seeds it printed first. With --workers 2 or more, several refreshes with
one refresh token at the same moment may succeed, most of them with the same pair:
the toolkit looks the token up before the transaction that rotates it.
"""

import json
import os
import pathlib
import secrets
import tempfile
import threading

import django
from django.conf import settings

import serving

urlpatterns = []  # filled by main(), once Django is set up
LOGIN = """<!DOCTYPE html><title>Log in</title>
<form method="post">{% csrf_token %}{{ form.as_p }}<button name="login">Log in</button></form>
"""


def main():
    parser = serving.options(__doc__)
    parser.add_argument("--dir", help="where the database is kept (default: a temporary one)")
    parser.add_argument("--reuse-protection", action="store_true",
                        help="a rotated refresh token that comes back revokes its family")
    parser.add_argument("--workers", type=int, default=1, metavar="N",
                        help="requests worked on at the same time (default 1)")
    args = parser.parse_args()
    if args.dir:
        directory = pathlib.Path(args.dir)
        directory.mkdir(parents=True, exist_ok=True)
        serve(args, directory)
    else:
        with tempfile.TemporaryDirectory() as directory:
            serve(args, pathlib.Path(directory))


def serve(args, directory):
    set_up(args, directory)
    from django.core.wsgi import get_wsgi_application

    django_app, workers = get_wsgi_application(), threading.Semaphore(args.workers)

    def app(environ, start_response):
        # In turn here: SQLite's writers wait by sleeping, the unlucky ones for seconds.
        with workers:
            return django_app(environ, start_response)

    server = serving.Server(args, app, "/o/token/", "/resource")
    memory = directory / "grants.json"
    if memory.exists():
        members, seeds = json.loads(memory.read_text())
    else:
        members = serving.new_client() | serving.new_clients()
        names = [f"g{n}" for n in range(args.grants)]
        populate(members, names, args.redirect_uri)
        seeds = server.seed(members, names, members["password"])
        memory.write_text(json.dumps([members, seeds]))
    server.run(members | places(server.origin), seeds)


def places(origin):
    issuer = origin + "/o"
    return {
        "issuer": issuer,
        "authorize_url": issuer + "/authorize/",
        "userinfo_url": issuer + "/userinfo/",
        "revoke_url": issuer + "/revoke_token/",
        "metadata_url": origin + "/.well-known/oauth-authorization-server/o",
    }


def signing_key(directory):
    """The key of id tokens, kept with the database."""
    from jwcrypto.jwk import JWK

    path = directory / "signing.pem"
    if not path.exists():
        path.write_bytes(JWK.generate(kty="RSA", size=2048).export_to_pem(True, None))
    return path.read_text()


def set_up(args, directory):
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, on the loopback only
    settings.configure(
        SECRET_KEY=secrets.token_urlsafe(),
        ALLOWED_HOSTS=[serving.HOST],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "django.middleware.common.CommonMiddleware",  # Content-Length: keep-alive
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        LOGIN_URL="/login/",
        STATIC_URL="/static/",
        TEMPLATES=[{
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "context_processors": ["django.template.context_processors.request"],
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN}),
                    "django.template.loaders.app_directories.Loader",
                ],
            },
        }],
        LOGGING_CONFIG=None,
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
        # Tables straight from the models, and quick hashes: a start of seconds otherwise,
        # and a client secret that takes 0.3 s to check on each request.
        MIGRATION_MODULES=dict.fromkeys(["auth", "contenttypes", "oauth2_provider"]),
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DATABASES={"default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": directory / "dot.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 30,
                "transaction_mode": "IMMEDIATE",  # wait for a writer rather than fail
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }},
        OAUTH2_PROVIDER={
            "ACCESS_TOKEN_EXPIRE_SECONDS": args.access_lifetime,
            "ROTATE_REFRESH_TOKEN": args.rotate,
            "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": args.grace,
            "REFRESH_TOKEN_REUSE_PROTECTION": args.reuse_protection,
            "PKCE_REQUIRED": True,
            "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
            "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
            "OIDC_ENABLED": True,
            "OIDC_RSA_PRIVATE_KEY": signing_key(directory),
            "SCOPES": {"openid": "Who you are", "read": "Reading scope", "write": "Writing scope"},
        },
    )
    django.setup()

    from django.contrib.auth.views import LoginView
    from django.core.management import call_command
    from django.http import JsonResponse
    from django.urls import include, path
    from oauth2_provider.decorators import protected_resource
    from oauth2_provider.urls import metadata_urlpatterns

    @protected_resource()
    def resource(request):
        return JsonResponse({"ok": True, "user": request.resource_owner.username})

    urlpatterns.extend([
        path("o/", include("oauth2_provider.urls")),
        path("", include((metadata_urlpatterns, "metadata"))),
        path("login/", LoginView.as_view()),
        path("resource", resource),
    ])
    call_command("migrate", run_syncdb=True, verbosity=0)


def populate(members, names, redirect_uris):
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from oauth2_provider.models import Application

    confidential, public = Application.CLIENT_CONFIDENTIAL, Application.CLIENT_PUBLIC
    Application.objects.create(
        name="refreshd", client_type=confidential,
        authorization_grant_type=Application.GRANT_PASSWORD,
        client_id=members["client_id"], client_secret=members["client_secret"],
    )
    code = {
        "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
        "redirect_uris": " ".join(serving.LOOPBACK + redirect_uris),
        "algorithm": Application.RS256_ALGORITHM,
    }
    Application.objects.create(
        name="refreshd on the web", client_type=confidential, **code,
        client_id=members["web_client_id"], client_secret=members["web_client_secret"],
    )
    Application.objects.create(
        name="refreshd at home", client_type=public, **code,
        client_id=members["native_client_id"],
    )
    hashed = make_password(members["password"])
    users = names + serving.PEOPLE
    User.objects.bulk_create(User(username=name, password=hashed) for name in users)


if __name__ == "__main__":
    main()
