"""The storage at the other end: takes remote writes, and remembers who sent when, and in which term."""

import collections
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cluster import GATEWAY

PORT = 9009
Write = collections.namedtuple("Write", "at sender term")  # monotonic seconds, address, number (-1: it had none)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A gate that loses authority resets its connections, as it should."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Receiver:
    """Listens as soon as it is made."""

    def __init__(self):
        self.writes = []
        writes, lock = self.writes, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    term = int(self.headers.get("X-Prometheus-Elector-Term", -1))
                    writes.append(Write(time.monotonic(), self.client_address[0], term))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = Server((GATEWAY, PORT), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def senders_since(self, start):
        return {write.sender for write in list(self.writes) if write.at >= start}

    def fenced(self):
        """Fails unless each term had one sender, and no write came with a lower term than one before it."""
        senders, last = {}, 1
        for write in list(self.writes):
            assert write.term >= last, f"{write.sender} wrote in term {write.term} after one in term {last}"
            one = senders.setdefault(write.term, write.sender)
            assert one == write.sender, f"{one} and {write.sender} both wrote in term {write.term}"
            last = write.term
        return f"{len(self.writes)} writes, {len(senders)} terms"
