"""The shop's service: counts visits in Redis, and tells Prometheus how it does."""

import collections
import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis

VERSION = "1"
host, port = os.environ["REDIS"].rsplit(":", 1)
store = redis.Redis(host=host, port=int(port), socket_timeout=2, socket_connect_timeout=2)
answered, answering = collections.Counter(), threading.Lock()


def visit():
    visits = store.incr("visits")
    return {"visits": visits, "prize": visits % 10 == 0, "version": VERSION, "instance": socket.gethostname()}


def metrics():
    with answering:
        lines = [f'http_requests_total{{code="{code}"}} {n}\n' for code, n in sorted(answered.items())]
    return "# TYPE http_requests_total counter\n" + "".join(lines)


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/metrics":
            return self.send(200, "text/plain; version=0.0.4", metrics())
        try:
            status, body = self.answer()
        except redis.RedisError as error:
            status, body = 503, {"error": str(error)}
        except Exception as error:
            status, body = 500, {"error": repr(error)}
        if self.path != "/healthz":
            with answering:
                answered[status] += 1
        self.send(status, "application/json", json.dumps(body) + "\n")

    def answer(self):
        if self.path == "/healthz":
            store.ping()
            return 200, {"ok": True}
        if self.path == "/api/visit":
            return 200, visit()
        return 404, {"error": "no such page"}

    def send(self, status, kind, text):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # a stop waits for the requests that are being answered


server = Server(("0.0.0.0", int(os.environ["PORT"])), Shop)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"shop {VERSION} listens on {server.server_address[1]}", flush=True)
server.serve_forever()
server.server_close()
