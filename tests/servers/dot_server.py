"""A real authorization server for the tests: django-oauth-toolkit on Django and SQLite.

The OAuth is the toolkit's: its urls, views, models and `@protected_resource()`,
unpatched. This file is only the settings of a Django project, one confidential
client (HTTP Basic or credentials in the body) and the users. It prints one JSON
line when it listens and ends when standard input closes:

  {"token_url", "resource_url", "client_id", "client_secret",
   "seeds": [{"name": "g0", "access_token", "refresh_token", "token_type",
              "expires_in", "scope"}, …]}

Started again on the same --dir it goes on with the same client and grants, and
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
        client, seeds = json.loads(memory.read_text())
    else:
        client, names = serving.new_client(), [f"g{n}" for n in range(args.grants)]
        password = secrets.token_urlsafe()
        populate(client, names, password)
        seeds = server.seed(client, names, password)
        memory.write_text(json.dumps([client, seeds]))
    server.run(client, seeds)


def set_up(args, directory):
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, on the loopback only
    settings.configure(
        SECRET_KEY=secrets.token_urlsafe(),
        ALLOWED_HOSTS=[serving.HOST],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # Content-Length: keep-alive
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
        },
    )
    django.setup()

    from django.core.management import call_command
    from django.http import JsonResponse
    from django.urls import include, path
    from oauth2_provider.decorators import protected_resource

    @protected_resource()
    def resource(request):
        return JsonResponse({"ok": True, "user": request.resource_owner.username})

    urlpatterns.extend([path("o/", include("oauth2_provider.urls")), path("resource", resource)])
    call_command("migrate", run_syncdb=True, verbosity=0)


def populate(client, names, password):
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from oauth2_provider.models import Application

    Application.objects.create(
        name="refreshd", client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_PASSWORD, **client,
    )
    hashed = make_password(password)
    User.objects.bulk_create(User(username=name, password=hashed) for name in names)


if __name__ == "__main__":
    main()
