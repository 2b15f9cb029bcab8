"""A backend on Werkzeug that answers with what it reads as api_user and api_key, and with the names of all fields.

Writes its port to stdout, and ends with its stdin.
"""

import logging
import sys
import threading

from werkzeug import Request, Response
from werkzeug.serving import make_server


@Request.application
def app(request):
    form = request.form
    return Response(repr([form.get("api_user"), form.get("api_key"), sorted(form)]))


logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.port, flush=True)
sys.stdin.read()
