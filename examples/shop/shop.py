"""The shop's service: counts visits and stock in Redis."""

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


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, body = self.answer()
        except redis.RedisError as error:
            status, body = 503, {"error": str(error)}
        text = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def answer(self):
        if self.path == "/healthz":
            store.ping()
            return 200, {"ok": True}
        if self.path == "/api/visit":
            return 200, {"visits": store.incr("visits"), "version": VERSION, "instance": socket.gethostname()}
        return 404, {"error": "no such page"}

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
