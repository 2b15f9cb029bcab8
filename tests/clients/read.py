"""Reads requests with Python's parsers; input and output as in read.js."""

import asyncio
import base64
import io
import json
import logging
import sys
import warnings
from urllib.parse import parse_qs

import bottle
import django
import tornado.httputil
from aiohttp import StreamReader
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Request as AiohttpRequest
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from multidict import CIMultiDict, CIMultiDictProxy
from starlette.requests import Request as StarletteRequest
from unittest import mock
from werkzeug import Request as WerkzeugRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cgi

KEYS = ("api_user", "api_key")
settings.configure(ALLOWED_HOSTS=["*"])
django.setup()
logging.disable()
warnings.simplefilter("ignore")
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
# Slow to make, and the same for all.
MOCKED = make_mocked_request("POST", "/")
PROTOCOL = mock.Mock(_reading_paused=False)


def found(*multidicts):
    """What is there under either name; each value may be a list."""
    return [f"{key}={fields[key]!r}" for fields in multidicts for key in KEYS if key in fields]


def environ(query, kind, body, method):
    env = {
        "REQUEST_METHOD": method,
        "QUERY_STRING": query.decode("latin1"),
        "PATH_INFO": "/",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
    }
    if kind is not None:
        env["CONTENT_TYPE"] = kind
    return env


def of_cgi(query, kind, body, method):
    env = environ(b"", kind, body, method)
    form = cgi.FieldStorage(fp=env["wsgi.input"], environ=env, keep_blank_values=True)
    return found({key: form.getlist(key) for key in form.keys()}) if form.list else []


def of_tornado(query, kind, body, method):
    arguments, files = {}, {}
    tornado.httputil.parse_body_arguments(kind or "", body, arguments, files)
    return found(arguments, files)


def of_bottle(*request):
    read = bottle.Request(environ(*request))
    return found(read.forms.dict, read.files.dict)


def of_django(*request):
    read = WSGIRequest(environ(*request))
    return found(dict(read.POST.lists()), dict(read.FILES.lists()))


def of_werkzeug(*request):
    read = WerkzeugRequest(environ(*request))
    return found(read.form.to_dict(flat=False), read.files.to_dict(flat=False))


def of_starlette(query, kind, body, method):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [] if kind is None else [(b"content-type", kind.encode("latin1"))]
    scope = {"type": "http", "method": method, "headers": headers, "query_string": query}

    async def read():
        form = await StarletteRequest(scope, receive).form()
        return found({key: form.getlist(key) for key in form})

    return loop.run_until_complete(read())


def of_aiohttp(query, kind, body, method):
    async def read():
        payload = StreamReader(PROTOCOL, 2**20, loop=loop)
        payload.feed_data(body)
        payload.feed_eof()
        headers = {"Content-Length": str(len(body))} | ({} if kind is None else {"Content-Type": kind})
        message = MOCKED._message._replace(method=method, headers=CIMultiDictProxy(CIMultiDict(headers)))
        environment = (MOCKED._protocol, MOCKED._payload_writer, MOCKED._task, loop)
        form = await AiohttpRequest(message, payload, *environment, client_max_size=2**24).post()
        return found({key: form.getall(key) for key in form})

    return loop.run_until_complete(asyncio.wait_for(read(), 1))


def of_query(reader):
    return lambda query, *_: found(reader(query))


PARSERS = {
    "urllib query": of_query(lambda query: parse_qs(query.decode("latin1"), keep_blank_values=True)),
    "django query": of_query(lambda query: dict(WSGIRequest(environ(query, None, b"", "GET")).GET.lists())),
    "werkzeug query": of_query(lambda query: WerkzeugRequest(environ(query, None, b"", "GET")).args.to_dict(flat=False)),
    "cgi": of_cgi,
    "tornado": of_tornado,
    "bottle": of_bottle,
    "django": of_django,
    "werkzeug": of_werkzeug,
    "starlette": of_starlette,
    "aiohttp": of_aiohttp,
}

for line in sys.stdin:
    request = json.loads(line)
    arguments = (
        base64.b64decode(request["query"]),
        request["type"],
        base64.b64decode(request["body"]),
        request["method"],
    )
    readings = {}
    for name, parser in PARSERS.items():
        if not arguments[0 if name.endswith(" query") else 2]:
            continue
        try:
            read = parser(*arguments)
        except Exception:
            # It refuses the request.
            continue
        if read:
            readings[name] = read
    print(json.dumps(readings), flush=True)
