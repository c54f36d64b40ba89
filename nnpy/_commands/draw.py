"""``nnpy draw``: a web server for this machine only, with a page on which you draw a digit that a network classifies.

The page is in nnpy/data/draw. It turns the drawing into an image of 28 x 28 pixels and posts it to this server, which runs the
network. The server answers only requests that its own page would make, so that other pages in the browser cannot use it.
"""

import errno
import json
import reprlib
import socket
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import nnpy

__all__ = ["PORT", "Server", "load_network", "run"]

PORT = 8784  # always the same, so that a bookmark works; after the 784 inputs
NUM_PIXELS, NUM_DIGITS = 784, 10

_ADDRESS = "127.0.0.1"  # the loopback interface: other machines cannot connect
_BODY_MAX = 64 * 1024  # bytes; 784 integers take about 3 KB, 784 floats with all decimals 16 KB
_TIMEOUT = 10  # seconds without a byte from the client, after which the connection is closed

_DATA = resources.files("nnpy") / "data"
_FILES = {  # by path; the server opens no other file
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/image.js": ("image.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_NETWORK, _PREDICT = "/network", "/predict"
_JSON = "application/json"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # another version of nnpy may have another page
}


def run(model: str | None, port: int, *, open_browser: bool, report: Callable[[str], object]) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    model : str or None
        A file with a network; see `load_network`.
    port : int
        Port of the server; 0 takes any free one.
    open_browser : bool
        Whether to open the page in the browser.
    report : callable
        Called with a line of text that has the address of the page.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    OSError, ValueError
        If the file cannot be read, its network cannot be used, or the port is not available.
    """
    net = load_network(model)
    try:
        server = Server(net, port)
    except OSError as error:
        reason = "it is in use by another program" if error.errno == errno.EADDRINUSE else error.strerror
        raise OSError(f"cannot listen on port {port}: {reason}; --port 0 takes any free port") from None
    with server:
        report(f"Draw digits at {server.url} (Ctrl-C stops the server)")
        if open_browser:
            # In a thread: a browser that runs in the terminal returns only when it is closed.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()


def load_network(path: str | None) -> nnpy.NeuralNetwork:
    """Load a network that classifies digits from a file; None is the one that comes with nnpy.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a network with 784 inputs, 10 outputs from 0 to 1, and finite parameters.
    """
    if path is None:
        with resources.as_file(_DATA / "digits.npz") as file:
            return nnpy.load(file)
    try:
        net = nnpy.load(path)
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror}") from None
    sizes, last = net.layer_sizes, net.activations[-1]
    if (sizes[0], sizes[-1]) != (NUM_PIXELS, NUM_DIGITS):
        raise ValueError(
            f"expected a network with {NUM_PIXELS} inputs and {NUM_DIGITS} outputs, "
            f"the one in {path} has {sizes[0]} and {sizes[-1]}"
        )
    if last not in ("softmax", "sigmoid"):
        raise ValueError(f"expected softmax or sigmoid in the last layer, the network in {path} has {last}")
    if not np.isfinite(net.parameters).all():
        raise ValueError(f"expected finite weights and biases, the network in {path} has NaN or infinity")
    return net


class Server(ThreadingHTTPServer):
    """The web server: it serves the page and runs the network.

    Parameters
    ----------
    net : NeuralNetwork
        A network with 784 inputs and 10 outputs.
    port : int
        Port of the loopback interface; 0 takes any free one.

    Raises
    ------
    OSError
        If the port is not available.
    """

    daemon_threads = True
    request_queue_size = 128  # connections that wait to be accepted; after the default, 5, the next one takes seconds
    # On Windows the option would allow two programs to listen on the same port.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, net: nnpy.NeuralNetwork, port: int) -> None:
        self.net = net
        super().__init__((_ADDRESS, port), _Handler)

    def server_bind(self) -> None:
        """Bind to the port. The base class would also look up the name of the machine, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _ADDRESS, int(self.server_address[1])

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{_ADDRESS}:{self.server_port}/"

    @property
    def hosts(self) -> set[str]:
        """Values of the header Host that a browser may send to this server."""
        names = {_ADDRESS, "localhost"}
        with_port = {f"{name}:{self.server_port}" for name in names}
        return with_port | names if self.server_port == 80 else with_port  # browsers omit the default port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error in this program, but nothing if a client closed the connection."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Refusal(Exception):
    """A request is refused, with this status and message."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Server
    default_request_version = "HTTP/1.0"  # of a request that names none: answers of HTTP/0.9 have no status
    protocol_version = "HTTP/1.1"  # keeps connections open: the page sends many requests a second
    disable_nagle_algorithm = True  # otherwise the content, a second write, waits for an acknowledgement of the headers
    timeout = _TIMEOUT

    def _handle(self) -> None:
        try:
            self._check_sender()
            if self.path == _PREDICT:
                self._check_method("POST")
                content, type_ = self._predict(), _JSON
            elif self.path == _NETWORK:
                self._check_method("GET", "HEAD")
                net = self.server.net
                content, type_ = _encode({"layer_sizes": net.layer_sizes, "activations": net.activations}), _JSON
            elif self.path in _FILES:
                self._check_method("GET", "HEAD")
                name, type_ = _FILES[self.path]
                content = (_DATA / "draw" / name).read_bytes()
            else:
                raise _Refusal(HTTPStatus.NOT_FOUND, f"there is no page {self.path}")
        except _Refusal as refusal:
            self._refuse(refusal.status, str(refusal))
        except Exception:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the terminal of nnpy draw shows it")
            raise
        else:
            self._send(HTTPStatus.OK, content, type_)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _handle

    def _check_sender(self) -> None:
        """Refuse requests of other pages: by Origin, and by Host against DNS rebinding."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise _Refusal(
                HTTPStatus.FORBIDDEN,
                f"expected the header Host to be {_ADDRESS}:{self.server.server_port}, got {', '.join(hosts) or 'none'}",
            )
        for origin in self.headers.get_all("Origin", []):
            if origin.lower() not in {f"http://{host}" for host in self.server.hosts}:
                raise _Refusal(
                    HTTPStatus.FORBIDDEN,
                    f"expected the header Origin to be {self.server.url.rstrip('/')}, got {origin}",
                )

    def _check_method(self, *methods: str) -> None:
        if self.command not in methods:
            raise _Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, f"{self.path} accepts {' and '.join(methods)}, got {self.command}"
            )
        if self.command != "POST" and ("Content-Length" in self.headers or "Transfer-Encoding" in self.headers):
            self.close_connection = True  # the body is not read, and must not be taken for the next request

    def _predict(self) -> bytes:
        pixels = _read_pixels(self._read_body())
        *hidden, outputs = self.server.net.layer_outputs(pixels)
        return _encode({"probabilities": outputs[0].tolist(), "hidden": [layer[0].tolist() for layer in hidden]})

    def _read_body(self) -> bytes:
        """Read the body of a POST request, after a check of its headers."""
        if self.headers.get_content_type() != _JSON:
            got = self.headers.get("Content-Type", "none")
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected the Content-Type {_JSON}, got {got}")
        lengths = self.headers.get_all("Content-Length", [])
        if not lengths or "Transfer-Encoding" in self.headers:
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length and no Transfer-Encoding")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"expected one Content-Length in bytes, got {', '.join(lengths)}")
        if len(lengths[0]) > 9 or int(lengths[0]) > _BODY_MAX:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {_BODY_MAX} bytes, got {lengths[0]}")
        try:
            body = self.rfile.read(int(lengths[0]))
        except TimeoutError:
            raise _Refusal(
                HTTPStatus.REQUEST_TIMEOUT, f"expected {lengths[0]} bytes, received nothing for {self.timeout} s"
            ) from None
        if len(body) < int(lengths[0]):
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"expected {lengths[0]} bytes, got {len(body)}")
        return body

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True
        with suppress(OSError):
            self._send(status, _encode({"error": message}), _JSON)
            # If the rest of the request stays unread, the client sees a reset connection, not the answer: read some of it.
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            for _ in range(64):
                if not self.connection.recv(_BODY_MAX):
                    break

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that the base class does not understand, as JSON and not as its HTML page."""
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
            self.send_header("Allow", "POST" if self.path == _PREDICT else "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def version_string(self) -> str:
        """Return the header Server, without the version of Python."""
        return "nnpy"

    def log_message(self, format: str, *args: Any) -> None:
        """Do not print a line for each request."""


def _read_pixels(body: bytes) -> NDArray[np.float32]:
    """Parse {"pixels": [784 numbers from 0 to 255]}; return them from 0 to 1, shape (1, 784)."""
    try:
        content = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise _Refusal(HTTPStatus.BAD_REQUEST, "expected JSON, got too many nested brackets") from None
    except ValueError as error:
        raise _Refusal(HTTPStatus.BAD_REQUEST, f"expected JSON in UTF-8: {error}") from None
    if not isinstance(content, dict) or content.keys() != {"pixels"}:
        raise _Refusal(HTTPStatus.BAD_REQUEST, f'expected {{"pixels": [...]}}, got {reprlib.repr(content)}')
    pixels = content["pixels"]
    if not isinstance(pixels, list) or len(pixels) != NUM_PIXELS:
        got = f"{len(pixels)}" if isinstance(pixels, list) else reprlib.repr(pixels)
        raise _Refusal(HTTPStatus.BAD_REQUEST, f"expected a list of {NUM_PIXELS} pixels, got {got}")
    for pixel in pixels:
        # type(), because isinstance would accept booleans.
        if type(pixel) not in (int, float) or not 0 <= pixel <= 255:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"expected pixels from 0 to 255, got {reprlib.repr(pixel)}")
    return np.divide([pixels], 255, dtype=np.float32)


def _encode(content: object) -> bytes:
    return json.dumps(content, allow_nan=False).encode()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
