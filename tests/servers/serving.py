"""What dot_server.py and authlib_server.py share; it contains no OAuth.

It owns the command line, the HTTP server (Django's threaded, keep-alive one, on
127.0.0.1 only), the first grants (made through the token endpoint itself, with
the password grant), the line that says the server is ready, answers that are
cut off on purpose, and the end: when standard input closes, or on SIGTERM.
"""

import argparse
import base64
import http.client
import json
import logging
import random
import secrets
import signal
import socket
import sys
import threading
import urllib.parse

from django.conf import settings
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

HOST = "127.0.0.1"
PEOPLE = ["alice", "bob"]  # who logs in at the pages, with the ready line's `password`
# Where browsers are sent back to; RFC 8252: on the loopback any port will do.
LOOPBACK = [f"http://{host}{path}" for host in (HOST, "[::1]") for path in ("/", "/callback")]


def options(doc):
    """The options both servers have; a server adds its own, then parses."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="0: any free one (default)")
    add("--access-lifetime", type=int, default=3600, metavar="SECONDS")
    add("--grants", type=int, default=1, metavar="N", help="users g0, g1, … with a token pair each")
    add("--rotate", action=argparse.BooleanOptionalAction, default=True,
        help="each refresh gives a new refresh token (default)")
    add("--grace", type=int, default=0, metavar="SECONDS",
        help="a rotated refresh token still works for so long (default 0)")
    add("--cut", type=float, default=0, metavar="PERCENT",
        help="so many token requests are carried out but not answered: the connection closes")
    add("--seed", type=int, default=0, metavar="N", help="which requests --cut hits")
    add("--redirect-uri", action="append", default=[], metavar="URI",
        help="one more of the web client's; loopback ones need none (may be given again)")
    add("--verbose", action="store_true", help="log requests on stderr")
    return parser


def new_client():
    return {"client_id": "refreshd-tests", "client_secret": secrets.token_urlsafe(24)}


def new_clients():
    """What a browser's way in needs: the members of the ready line that last."""
    return {"web_client_id": "refreshd-web", "web_client_secret": secrets.token_urlsafe(24),
            "native_client_id": "refreshd-native", "password": secrets.token_urlsafe(12)}


def without_loopback_port(uri):
    """A redirect URI as it is registered: on the loopback the port is the client's choice."""
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "http" or parts.hostname not in (HOST, "::1") or "@" in parts.netloc:
        return uri
    host = "[::1]" if parts.hostname == "::1" else HOST
    return parts._replace(netloc=host).geturl()


class Server:
    """Serves a WSGI application from construction on; `run` announces it and stays."""

    def __init__(self, args, app, token_path, resource_path):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        logging.basicConfig(level=logging.INFO if args.verbose else logging.ERROR)
        if not settings.configured:  # the HTTP server below asks Django for open databases
            settings.configure()
        self._cut = Cut(app, token_path, args.seed)
        self._percent = args.cut
        self._httpd = _Httpd((HOST, args.port), _Handler)
        self._httpd.verbose = args.verbose
        self._httpd.set_app(self._cut)
        self._token_path, self._resource_path = token_path, resource_path
        self.origin = f"http://{HOST}:{self._httpd.server_port}"
        threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True).start()

    def seed(self, client, names, password):
        """First token pairs, one for each user name, from the token endpoint."""
        connection = http.client.HTTPConnection(HOST, self._httpd.server_port)
        credentials = f"{client['client_id']}:{client['client_secret']}".encode()
        headers = {
            "Authorization": "Basic " + base64.b64encode(credentials).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        seeds = []
        for name in names:
            form = {"grant_type": "password", "username": name, "password": password,
                    "scope": "read write"}
            connection.request("POST", self._token_path, urllib.parse.urlencode(form), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"seeding {name}: {answer.status} {body!r}")
            seeds.append(json.loads(body) | {"name": name})
        connection.close()
        return seeds

    def run(self, members, seeds):
        """Prints the ready line and returns when stdin closes or SIGTERM comes."""
        ready = {"token_url": self.origin + self._token_path,
                 "resource_url": self.origin + self._resource_path, **members, "seeds": seeds}
        self._cut.start(self._percent)
        try:
            print(json.dumps(ready), flush=True)
            sys.stdin.buffer.read()
        except KeyboardInterrupt:
            pass
        finally:
            self._httpd.shutdown()
            print(f"answers cut: {self._cut.hits} of {self._cut.requests} token requests",
                  file=sys.stderr, flush=True)


class Cut:
    """Lets the application finish some token requests, then drops the answer."""

    def __init__(self, app, token_path, seed):
        self._app, self._token_path = app, token_path
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._percent = None
        self.requests = self.hits = 0

    def start(self, percent):
        self._percent = percent

    def __call__(self, environ, start_response):
        answer = self._app(environ, start_response)
        if self._percent is not None and environ["PATH_INFO"] == self._token_path:
            with self._lock:
                self.requests += 1
                hit = self._random.random() * 100 < self._percent
                self.hits += hit
            if hit:
                environ["refreshd.socket"].shutdown(socket.SHUT_RDWR)
        return answer


class _Httpd(ThreadedWSGIServer):
    request_queue_size = 512  # a dropped SYN costs the client a second


class _Handler(WSGIRequestHandler):
    disable_nagle_algorithm = True  # head and body are two writes: 40 ms apart otherwise

    def get_environ(self):
        return super().get_environ() | {"refreshd.socket": self.connection}

    def log_message(self, format, *args):
        if self.server.verbose:
            print(self.log_date_time_string(), format % args, file=sys.stderr, flush=True)
