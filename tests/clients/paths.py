"""Backends that resolve paths in their own ways: `PROTECTED` where a protected route answers, else what they saw.

Writes their ports to stdout, one a line, and ends with its stdin. The first is a front controller as programs write them; the
parameter `q` may name its path, as behind a rewriting Apache. The others are the routers of Werkzeug and Bottle.
"""

import logging
import posixpath
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, unquote_to_bytes, urlsplit

import bottle
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import make_server

PROTECTED = ["/api/mail.send.json", "/send.php", "/v1/send"]


def said(found, raw):
    return f"{'PROTECTED' if found else 'other'} RAW:{raw}\n"


def resolved(target):
    """Everything that a front controller may take for the path."""
    seen = [target.partition("?")[0]]
    for parse in (lambda text: urlsplit(text).path, lambda text: urlsplit(text).path.partition(";")[0]):
        try:
            seen.append(parse(target))
        except ValueError:
            pass
    for decode in (unquote, lambda text: unquote_to_bytes(text).decode("utf-8", "ignore")):
        seen += [decode(text) for text in seen]
    for text in list(seen):
        try:
            seen.append(urlsplit(text).path)
        except ValueError:
            pass
    seen += [text.strip() for text in seen]
    seen += ["/" + text.strip("/") for text in seen]
    seen += [posixpath.normpath(text) for text in seen]
    return seen


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answers with what it takes the path for."""
        query = parse_qs(self.path.partition("?")[2])
        seen = query["q"] if "q" in query else resolved(self.path)
        body = said(any(text in PROTECTED for text in seen), self.path).encode("latin-1", "replace")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Logs nothing."""


ROUTES = Map([Rule(path, endpoint="protected") for path in PROTECTED] + [Rule("/<path:rest>", endpoint="other")])


@Request.application
def router(request):
    """Werkzeug's router."""
    raw = request.environ.get("RAW_URI", "")
    try:
        endpoint, _ = ROUTES.bind_to_environ(request.environ).match()
    except HTTPException as refusal:
        return refusal
    return Response(said(endpoint == "protected", raw))


bottled = bottle.Bottle()
for protected in PROTECTED:
    bottled.route(protected, callback=lambda: said(True, bottle.request.environ.get("RAW_URI", "")))
bottled.route("/<rest:path>", callback=lambda rest: said(False, bottle.request.environ.get("RAW_URI", "")))
logging.getLogger("werkzeug").setLevel(logging.ERROR)
ThreadingHTTPServer.request_queue_size = 64
front = ThreadingHTTPServer(("127.0.0.1", 0), Front)
routed = [make_server("127.0.0.1", 0, app, threaded=True) for app in (router, bottled)]
for server in (front, *routed):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
sys.stdin.read()
