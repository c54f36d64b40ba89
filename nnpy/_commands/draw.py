"""``nnpy draw``: a page on this machine where one writes a digit and sees what a network answers.

The page is in nnpy/data/draw: it makes an image of 28 x 28 from what is written and posts it here, where the network runs.
A request is answered only if it is one that the page would make: other pages that are open in the browser get nothing.
"""

import json
import reprlib
import socket
import socketserver
import sys
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nnpy._network import NeuralNetwork, load

__all__ = ["PORT", "Server", "read_network"]

PORT = 8784  # of 784 inputs, so that a bookmark works; 8000 and 8080 are often taken
NUM_PIXELS, NUM_DIGITS = 784, 10

_ADDRESS = "127.0.0.1"  # the loopback interface: other machines cannot connect
_BODY_MAX = 64 * 1024  # bytes; 784 numbers take some 3 KB, and 16 KB with all of their decimals
_SECONDS = 10  # without a byte from the other side, before it is left

_DATA = resources.files("nnpy") / "data"
_FILES = {  # no other file is ever opened
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/image.js": ("image.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_NETWORK, _ANSWER = "/network", "/answer"
_JSON = "application/json"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # the next version of nnpy has another page
}


def read_network(path: str | None) -> NeuralNetwork:
    """Read a network that knows digits: the one in this file, or the one that comes with nnpy.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or its network does not take 784 pixels to a number from 0 to 1 for each digit.
    """
    if path is None:
        with resources.as_file(_DATA / "digits.npz") as file:
            return load(file)
    net = load(path)
    sizes, last = net.layer_sizes, net.activations[-1]
    if (sizes[0], sizes[-1]) != (NUM_PIXELS, NUM_DIGITS):
        raise ValueError(
            f"a network with {NUM_PIXELS} inputs and {NUM_DIGITS} outputs is expected, {path} has {sizes[0]} and {sizes[-1]}"
        )
    if last not in ("softmax", "sigmoid"):
        raise ValueError(f"a last layer of softmax or sigmoid, from 0 to 1, is expected, {path} has {last}")
    if not np.isfinite(net.parameters).all():
        raise ValueError(f"finite weights and biases are expected, {path} has NaN or infinity")
    return net


class Server(ThreadingHTTPServer):
    """The page and the network, on a port of the loopback interface; port 0 is any that is free.

    Raises
    ------
    OSError
        If the port cannot be had.
    """

    daemon_threads = True
    # On Windows this would let two programs have the same port.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, net: NeuralNetwork, port: int) -> None:
        self.net = net
        super().__init__((_ADDRESS, port), _Handler)

    def server_bind(self) -> None:
        """Take the port. The base class would also ask for the machine's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _ADDRESS, int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{_ADDRESS}:{self.server_port}/"

    @property
    def hosts(self) -> set[str]:
        """What a browser may call this server."""
        names = (_ADDRESS, "localhost")
        return {f"{name}:{self.server_port}" for name in names} | ({*names} if self.server_port == 80 else set())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong here, but not that somebody closed a connection."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Refusal(Exception):
    """A request that is not answered: its status, and what is said about it."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"  # connections stay open: a page asks many times a second
    disable_nagle_algorithm = True  # headers and content are two writes
    timeout = _SECONDS

    def _handle(self) -> None:
        try:
            self._check_sender()
            if self.path == _ANSWER:
                self._check_method("POST")
                content, type_ = self._answer(), _JSON
            elif self.path == _NETWORK:
                self._check_method("GET", "HEAD")
                net = self.server.net
                content, type_ = _encode({"layer_sizes": net.layer_sizes, "activations": net.activations}), _JSON
            elif self.path in _FILES:
                self._check_method("GET", "HEAD")
                name, type_ = _FILES[self.path]
                content = (_DATA / "draw" / name).read_bytes()
            else:
                raise _Refusal(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path}")
        except _Refusal as refusal:
            self._refuse(refusal.status, str(refusal))
        except Exception:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "an error in nnpy: the terminal in which it runs says which")
            raise
        else:
            self._send(HTTPStatus.OK, content, type_)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _handle

    def _check_sender(self) -> None:
        """Refuse what another page sends: from its own origin, or under a name that it gave to this machine."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise _Refusal(
                HTTPStatus.FORBIDDEN,
                f"a Host of {_ADDRESS}:{self.server.server_port} is expected, got {', '.join(hosts) or 'none'}",
            )
        for origin in self.headers.get_all("Origin", []):
            if origin.lower() not in {f"http://{host}" for host in self.server.hosts}:
                raise _Refusal(
                    HTTPStatus.FORBIDDEN, f"an Origin of {self.server.url.rstrip('/')} is expected, got {origin}"
                )

    def _check_method(self, *methods: str) -> None:
        if self.command not in methods:
            raise _Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, f"{self.path} is for {' and '.join(methods)}, got {self.command}"
            )
        if self.command != "POST" and ("Content-Length" in self.headers or "Transfer-Encoding" in self.headers):
            self.close_connection = True  # its content is not read

    def _answer(self) -> bytes:
        pixels = _read_pixels(self._body())
        *hidden, outputs = self.server.net.layer_outputs(pixels)
        return _encode({"probabilities": outputs[0].tolist(), "hidden": [layer[0].tolist() for layer in hidden]})

    def _body(self) -> bytes:
        """Read what is posted, if it says that it is JSON and how long it is."""
        if self.headers.get_content_type() != _JSON:
            got = self.headers.get("Content-Type", "none")
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a Content-Type of {_JSON} is expected, got {got}")
        lengths = self.headers.get_all("Content-Length", [])
        if not lengths or "Transfer-Encoding" in self.headers:
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is expected, and no Transfer-Encoding")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"a Content-Length in bytes is expected, got {', '.join(lengths)}")
        if len(lengths[0]) > 9 or int(lengths[0]) > _BODY_MAX:
            raise _Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {_BODY_MAX} bytes are expected, got {lengths[0]}"
            )
        try:
            body = self.rfile.read(int(lengths[0]))
        except TimeoutError:
            raise _Refusal(
                HTTPStatus.REQUEST_TIMEOUT, f"{lengths[0]} bytes are expected, nothing came for {self.timeout} s"
            ) from None
        if len(body) < int(lengths[0]):
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"{lengths[0]} bytes are expected, got {len(body)}")
        return body

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True
        with suppress(OSError):
            self._send(status, _encode({"error": message}), _JSON)
            # Who is told before all was read would see a broken connection instead: read on for a while.
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            for _ in range(64):
                if not self.connection.recv(_BODY_MAX):
                    break

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what the base class does not understand, without its page."""
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def _send(self, status: HTTPStatus, content: bytes, type_: str) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST" if self.path == _ANSWER else "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def version_string(self) -> str:
        """Name the server, without the version of Python."""
        return "nnpy"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing for each request."""


def _read_pixels(body: bytes) -> NDArray[np.float32]:
    """Read an image from {"pixels": [784 numbers from 0 to 255]}; return it as a row of numbers from 0 to 1."""
    try:
        content = json.loads(body.decode(), parse_constant=_not_json)
    except RecursionError:
        raise _Refusal(HTTPStatus.BAD_REQUEST, "JSON is expected, got brackets in brackets in brackets") from None
    except ValueError as error:
        raise _Refusal(HTTPStatus.BAD_REQUEST, f"JSON in UTF-8 is expected: {error}") from None
    if not isinstance(content, dict) or content.keys() != {"pixels"}:
        raise _Refusal(HTTPStatus.BAD_REQUEST, f'{{"pixels": [...]}} is expected, got {reprlib.repr(content)}')
    pixels = content["pixels"]
    if not isinstance(pixels, list) or len(pixels) != NUM_PIXELS:
        got = f"{len(pixels)}" if isinstance(pixels, list) else reprlib.repr(pixels)
        raise _Refusal(HTTPStatus.BAD_REQUEST, f"pixels must be a list of {NUM_PIXELS} numbers, got {got}")
    for pixel in pixels:
        # Not isinstance: a boolean is an integer in Python.
        if type(pixel) not in (int, float) or not 0 <= pixel <= 255:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"pixels must be numbers from 0 to 255, got {reprlib.repr(pixel)}")
    return np.divide([pixels], 255, dtype=np.float32)


def _encode(content: object) -> bytes:
    return json.dumps(content, allow_nan=False).encode()


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
