"""A web site with the special cases that tests of fetching need."""

import gzip
import time
import zlib
from http.server import BaseHTTPRequestHandler

LOUD = b"music" * 1000


LOCATIONS = {
    "utf-8": "/sänger.wav?q=ü".encode(),
    "latin-1": "/sänger.wav".encode("latin-1"),
    "space": b"/a song.wav",
    "blanks": b"  /song.wav\t ",
    "relative": b"../a/./song.wav",
    "fragment": b"/song.wav#t=3",
    "encoded": b"/a%20song.wav?x=%2F&y=a+b",
}
"""Targets of redirects, as bytes of the header."""


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


BODIES = {
    "gzip": ("gzip", gzip.compress(LOUD)),
    "x-gzip": ("X-GZip", gzip.compress(LOUD)),
    "members": ("gzip", gzip.compress(LOUD[:999]) + gzip.compress(LOUD[999:])),
    "padded": ("gzip", gzip.compress(LOUD) + bytes(100)),
    "zlib": ("deflate", zlib.compress(LOUD)),
    "raw": ("deflate", raw_deflate(LOUD)),
    "chained": ("gzip, identity", gzip.compress(LOUD)),
    "twice": ("deflate, gzip", gzip.compress(zlib.compress(LOUD))),
    "none": ("identity", LOUD),
    "stored": ("aws-chunked", LOUD),
    "cut": ("gzip", gzip.compress(LOUD)[:-9]),
    "nothing": ("gzip", b""),
    "damaged": ("gzip", b"\x1f\x8b\x08" + bytes(100)),
    "unpacked": ("gzip", LOUD),
    "brotli": ("br", b"x"),
    "nested": ("gzip, gzip, gzip, gzip", b"x"),
    "bomb": ("gzip", gzip.compress(bytes(50 * 2**20))),
    "nested-bomb": ("gzip, gzip", gzip.compress(gzip.compress(bytes(50 * 2**20)) + bytes(50 * 2**20))),
}
"""Bodies and their Content-Encoding headers."""


class Site(BaseHTTPRequestHandler):
    """A web site with special cases."""

    requests: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.requests.append((self.headers["Host"], self.path))
        match self.path.split("/")[1:]:
            case ["redirect", *rest]:
                self.send_response(302)
                self.send_header("Location", "/".join(rest))
                self.end_headers()
            case ["missing"]:
                self.send_error(404)
            case ["endless"]:
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(bytes(65_536))
            case ["drip"]:
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.02)
            case ["to", place]:
                self.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: " + LOCATIONS[place] + b"\r\n\r\n")
            case ["coded", name]:
                coding, body = BODIES[name]
                self.send_response(200)
                self.send_header("Content-Encoding", coding)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            case ["cut-chunk"]:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"100\r\nx")
            case ["mute"]:
                pass
            case ["babble"]:
                self.wfile.write(b"hello\r\n\r\n")
            case ["short"]:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x")
            case _:
                self.send_response(200)
                self.send_header("Content-Length", str(len(LOUD)))
                self.end_headers()
                self.wfile.write(LOUD)

    def handle(self) -> None:
        # A client that has enough hangs up.
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""
