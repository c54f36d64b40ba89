"""The server of ``nnpy draw`` over real connections: its responses, each request that it refuses, and the command."""

import contextlib
import errno
import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest

import nnpy
from nnpy._commands import draw, main

PIXELS = [0] * 392 + [255] * 392
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def net():
    return nnpy.NeuralNetwork([784, 7, 5, 10], ["relu", "tanh", "softmax"], seed=1)


@pytest.fixture(scope="module")
def server(serving, net):
    with serving(net) as server:
        yield server


def request(server, method="GET", path="/", body=None, headers=(), **options):
    """Return the status, the headers and the body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers), **options)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def raw(server, *lines, body=b""):
    """Send these lines and this body as they are; return the whole response."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode("latin-1") + body)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def post(server, content, headers=()):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    status, _, response = request(server, "POST", "/predict", body, {**JSON, **dict(headers)})
    return status, json.loads(response)


def assert_alive(server):
    assert post(server, {"pixels": PIXELS})[0] == 200


def test_prediction_is_that_of_the_network(server, net):
    x = np.divide([PIXELS], 255, dtype=np.float32)
    status, response = post(server, {"pixels": PIXELS})
    assert status == 200
    assert response.keys() == {"probabilities", "hidden"}
    assert response["probabilities"] == net.predict(x)[0].tolist()
    first = np.maximum(x @ net.weights[0] + net.biases[0], 0)
    second = np.tanh(first @ net.weights[1] + net.biases[1])
    assert [len(layer) for layer in response["hidden"]] == [7, 5]
    np.testing.assert_allclose(response["hidden"][0], first[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(response["hidden"][1], second[0], rtol=1e-5, atol=1e-5)
    assert max(response["hidden"][0]) > 0.1


def test_floats_and_a_charset_are_accepted(server):
    status, _ = post(server, {"pixels": [0.5] * 784}, {"Content-Type": "application/json; charset=utf-8"})
    assert status == 200


def test_network_is_described(server):
    status, headers, content = request(server, path="/network")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(content) == {"layer_sizes": [784, 7, 5, 10], "activations": ["relu", "tanh", "softmax"]}


@pytest.mark.parametrize(
    ("path", "type_", "part"),
    [
        ("/", "text/html; charset=utf-8", b"<h1>Draw a digit</h1>"),
        ("/page.css", "text/css; charset=utf-8", b"prefers-color-scheme"),
        ("/page.js", "text/javascript; charset=utf-8", b"imageOf"),
        ("/image.js", "text/javascript; charset=utf-8", b"export function imageOf"),
        ("/icon.svg", "image/svg+xml", b"<svg"),
    ],
)
def test_files_of_the_page(server, path, type_, part):
    status, headers, content = request(server, path=path)
    assert status == 200
    assert headers["Content-Type"] == type_
    assert part in content
    policy = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {value for name, value in policy.items() if name.endswith("-src")} == {"'none'", "'self'"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "nnpy"
    status, headers, nothing = request(server, "HEAD", path)
    assert (status, int(headers["Content-Length"]), nothing) == (200, len(content), b"")


def test_connection_is_kept_open(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    with contextlib.closing(connection):
        for _ in range(3):
            connection.request("POST", "/predict", json.dumps({"pixels": PIXELS}), JSON)
            assert connection.getresponse().read()
            first = connection.sock
        assert connection.sock is first


def test_localhost_is_accepted(server):
    host = f"LocalHost:{server.server_port}"
    assert request(server, headers={"Host": host})[0] == 200
    assert post(server, {"pixels": PIXELS}, {"Host": host, "Origin": f"http://{host.lower()}"})[0] == 200


def test_hosts_of_port_80(net):
    with draw.Server(net, 0) as server:
        assert "localhost" not in server.hosts
        server.server_port = 80
        assert {"localhost", "127.0.0.1", "localhost:80"} < server.hosts


def test_only_this_machine_can_connect(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected JSON in UTF-8: Expecting value"),
        (b'{"pixels": [1, 2', "expected JSON in UTF-8: Expecting ',' delimiter"),
        (b'{"pixels": "\xff"}', "expected JSON in UTF-8: 'utf-8' codec can't decode byte 0xff"),
        (b'{"pixels": [NaN]}', "expected JSON in UTF-8: NaN is not a number in JSON"),
        (b'{"pixels": [-Infinity]}', "expected JSON in UTF-8: -Infinity is not a number in JSON"),
        (b'{"pixels": [' + b"9" * 5000 + b"]}", "expected JSON in UTF-8: Exceeds the limit"),
        (b"[" * 60_000, "expected JSON"),  # too many nested brackets; not for CPython 3.14
        ([1, 2], 'expected {"pixels": [...]}, got [1, 2]'),
        ({}, 'expected {"pixels": [...]}, got {}'),
        ({"pixels": PIXELS, "more": 1}, "expected {\"pixels\": [...]}, got {'more': 1"),
        ({"pixels": None}, "expected a list of 784 pixels, got None"),
        ({"pixels": "0" * 784}, "expected a list of 784 pixels, got '000"),
        ({"pixels": PIXELS[1:]}, "expected a list of 784 pixels, got 783"),
        ({"pixels": [*PIXELS, 0]}, "expected a list of 784 pixels, got 785"),
        ({"pixels": [PIXELS]}, "expected a list of 784 pixels, got 1"),
        ({"pixels": [*PIXELS[1:], "1"]}, "expected pixels from 0 to 255, got '1'"),
        ({"pixels": [*PIXELS[1:], True]}, "expected pixels from 0 to 255, got True"),
        ({"pixels": [*PIXELS[1:], None]}, "expected pixels from 0 to 255, got None"),
        ({"pixels": [*PIXELS[1:], [1]]}, "expected pixels from 0 to 255, got [1]"),
        ({"pixels": [*PIXELS[1:], -1]}, "expected pixels from 0 to 255, got -1"),
        ({"pixels": [*PIXELS[1:], 255.5]}, "expected pixels from 0 to 255, got 255.5"),
        (json.dumps({"pixels": PIXELS}).encode().replace(b"255]", b"1e999]"), "from 0 to 255, got inf"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refused_bodies(server, content, message):
    status, response = post(server, content)
    assert status == 400
    assert response.keys() == {"error"}
    assert message in response["error"]
    assert_alive(server)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"),
    [
        ("GET", "/else", {}, 404, "there is no page /else"),
        ("GET", "/../draw.py", {}, 404, "there is no page /../draw.py"),
        ("GET", "/%2e%2e/digits.npz", {}, 404, "there is no page /%2e%2e/digits.npz"),
        ("GET", "/page.js?x", {}, 404, "there is no page /page.js?x"),
        ("POST", "/else", JSON, 404, "there is no page /else"),
        ("GET", "/predict", {}, 405, "/predict accepts POST, got GET"),
        ("PUT", "/predict", JSON, 405, "/predict accepts POST, got PUT"),
        ("OPTIONS", "/predict", {}, 405, "/predict accepts POST, got OPTIONS"),
        ("POST", "/", JSON, 405, "/ accepts GET and HEAD, got POST"),
        ("DELETE", "/page.js", {}, 405, "/page.js accepts GET and HEAD, got DELETE"),
        ("PATCH", "/network", JSON, 405, "/network accepts GET and HEAD, got PATCH"),
        ("BREW", "/", {}, 501, "Unsupported method ('BREW')"),
        ("GET", "/", {"Host": "example.com"}, 403, "expected the header Host to be 127.0.0.1:PORT, got example.com"),
        ("GET", "/", {"Host": "127.0.0.1"}, 403, "expected the header Host to be 127.0.0.1:PORT, got 127.0.0.1"),
        (
            "GET",
            "/network",
            {"Host": "localhost:1"},
            403,
            "expected the header Host to be 127.0.0.1:PORT, got localhost:1",
        ),
        (
            "POST",
            "/predict",
            {**JSON, "Host": "evil.example:8784"},
            403,
            "expected the header Host to be 127.0.0.1:PORT, got evil.example:8784",
        ),
        (
            "POST",
            "/predict",
            {**JSON, "Origin": "http://evil.example"},
            403,
            "expected the header Origin to be http://127.0.0.1:PORT, got http://evil.example",
        ),
        (
            "POST",
            "/predict",
            {**JSON, "Origin": "null"},
            403,
            "expected the header Origin to be http://127.0.0.1:PORT, got null",
        ),
        ("POST", "/predict", {}, 415, "expected the Content-Type application/json, got none"),
        (
            "POST",
            "/predict",
            {"Content-Type": "text/plain"},
            415,
            "expected the Content-Type application/json, got text/plain",
        ),
        ("POST", "/predict", {**JSON, "Content-Length": "+5"}, 400, "expected one Content-Length in bytes, got +5"),
        ("POST", "/predict", {**JSON, "Content-Length": "-5"}, 400, "expected one Content-Length in bytes, got -5"),
        ("POST", "/predict", {**JSON, "Content-Length": "65537"}, 413, "expected at most 65536 bytes, got 65537"),
        ("POST", "/predict", {**JSON, "Content-Length": "9" * 5000}, 413, "expected at most 65536 bytes, got 999"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused_requests(server, method, path, headers, status, message):
    body = json.dumps({"pixels": PIXELS}) if method == "POST" else None
    got, response_headers, content = request(server, method, path, body, headers)
    assert got == status
    assert json.loads(content)["error"].startswith(message.replace("PORT", str(server.server_port)))
    assert response_headers["Content-Type"] == "application/json"
    assert response_headers["Connection"] == "close"
    assert "Content-Security-Policy" in response_headers
    assert "Access-Control-Allow-Origin" not in response_headers
    if status == 405:
        assert response_headers["Allow"] == ("POST" if path == "/predict" else "GET, HEAD")
    assert_alive(server)


def test_client_of_a_large_body_gets_the_response(server):
    status, response = post(server, b" " * 1_000_000)
    assert (status, response) == (413, {"error": "expected at most 65536 bytes, got 1000000"})
    assert_alive(server)


def test_largest_body(server):
    body = json.dumps({"pixels": PIXELS}).encode()
    assert post(server, body + b" " * (65536 - len(body)))[0] == 200


def head(server, *more):
    return "POST /predict HTTP/1.1", f"Host: 127.0.0.1:{server.server_port}", "Content-Type: application/json", *more


def test_length_is_required(server):
    for more in ([], ["Transfer-Encoding: chunked"], ["Content-Length: 1", "Transfer-Encoding: chunked"]):
        response = raw(server, *head(server, *more), body=b"0\r\n\r\n")
        assert response.startswith("HTTP/1.1 411 ")
        assert response.endswith('{"error": "expected a Content-Length and no Transfer-Encoding"}')
    response = raw(server, *head(server, "Content-Length: 1", "Content-Length: 2"), body=b"{}")
    assert response.endswith('{"error": "expected one Content-Length in bytes, got 1, 2"}')
    assert_alive(server)


def test_body_that_ends_early(server):
    response = raw(server, *head(server, "Content-Length: 100"), body=b"{}")
    assert response.startswith("HTTP/1.1 400 ")
    assert response.endswith('{"error": "expected 100 bytes, got 2"}')
    assert_alive(server)


def test_body_that_does_not_arrive(server, monkeypatch):
    monkeypatch.setattr(draw._Handler, "timeout", 0.2)
    lines = "\r\n".join((*head(server, "Content-Length: 100"), "", ""))
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(lines.encode())
        response = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert response.startswith("HTTP/1.1 408 ")
    assert response.endswith('{"error": "expected 100 bytes, received nothing for 0.2 s"}')
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        assert connection.recv(1) == b""  # an idle connection is closed as well
    assert_alive(server)


def test_requests_without_exactly_one_host(server):
    for hosts in ([], [f"Host: 127.0.0.1:{server.server_port}", "Host: example.com"]):
        response = raw(server, "GET / HTTP/1.1", *hosts)
        assert response.startswith("HTTP/1.1 403 ")
    assert "got none" in raw(server, "GET / HTTP/1.1")
    assert_alive(server)


@pytest.mark.parametrize(
    "line", ["", "nonsense", "GET / HTTP/9.9", "GET / FTP/1", "GET /" + "x" * 70_000 + " HTTP/1.1"]
)
def test_malformed_requests(server, line, capfd):
    response = raw(server, line, f"Host: 127.0.0.1:{server.server_port}")
    assert "200 OK" not in response
    assert "Traceback" not in response
    assert "<" not in response
    assert_alive(server)
    assert capfd.readouterr().err == ""


def test_body_of_a_get_is_not_a_second_request(server):
    smuggled = f"GET /network HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode()
    host = f"Host: 127.0.0.1:{server.server_port}"
    response = raw(server, "GET /icon.svg HTTP/1.1", host, f"Content-Length: {len(smuggled)}", body=smuggled)
    assert response.count("HTTP/1.1 200 OK") == 1
    assert "layer_sizes" not in response


def test_closed_connections_are_not_reported(server, capfd):
    for _ in range(3):
        connection = socket.create_connection(("127.0.0.1", server.server_port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close() resets the connection
        connection.sendall(b"GET / HTTP/1.1\r\n")
        connection.close()
    assert_alive(server)
    assert capfd.readouterr().err == ""


def test_internal_error_is_shown_only_in_the_terminal(server, monkeypatch, capfd):
    def fail(body):
        raise ZeroDivisionError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr(draw, "_read_pixels", fail)
        status, response = post(server, {"pixels": PIXELS})
    assert (status, response) == (500, {"error": "internal error; the terminal of nnpy draw shows it"})
    assert_alive(server)
    printed, end = "", time.monotonic() + 20
    while (
        "ZeroDivisionError: a secret" not in printed and time.monotonic() < end
    ):  # the server prints it after the response
        time.sleep(0.01)
        printed += capfd.readouterr().err
    assert "ZeroDivisionError: a secret" in printed


def test_concurrent_requests(server, net):
    responses = [None] * 8

    def ask(i):
        responses[i] = [post(server, {"pixels": [i] * 784}) for _ in range(10)]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, response in enumerate(responses):
        expected = net.predict(np.full((1, 784), i / 255, np.float32))[0].tolist()
        for status, content in response:
            assert status == 200
            assert content["probabilities"] == expected


def test_default_network_classifies_digits(mnist_images):
    x, labels = mnist_images
    net = draw.load_network(None)
    assert (net.layer_sizes[0], net.layer_sizes[-1], net.activations[-1]) == (784, 10, "softmax")
    assert np.mean(net.predict(x).argmax(axis=1) == labels) > 0.96


@pytest.fixture
def mnist_images(mnist_folder):
    import gzip

    def read(name, start):
        path = mnist_folder / name
        content = path.read_bytes() if path.exists() else gzip.decompress((mnist_folder / f"{name}.gz").read_bytes())
        return np.frombuffer(content, np.uint8, offset=start)

    images = read("t10k-images-idx3-ubyte", 16).reshape(-1, 784)
    return np.divide(images, 255, dtype=np.float32), read("t10k-labels-idx1-ubyte", 8)


def error_of(capsys, *options):
    assert main.main(["draw", "--no-browser", *map(str, options)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    return err


def saved(path, sizes, activations, value=0.0):
    net = nnpy.NeuralNetwork(sizes, activations, seed=0)
    net.parameters[0] = value
    net.save(path)
    return str(path)


@pytest.mark.parametrize(
    ("sizes", "activations", "value", "message"),
    [
        (
            [2, 2, 1],
            "sigmoid",
            0,
            r"expected a network with 784 inputs and 10 outputs, the one in .*net.npz has 2 and 1",
        ),
        (
            [784, 26],
            "softmax",
            0,
            r"expected a network with 784 inputs and 10 outputs, the one in .*net.npz has 784 and 26",
        ),
        (
            [784, 3, 10],
            ["relu", "linear"],
            0,
            r"expected softmax or sigmoid in the last layer, the network in .*net.npz has linear",
        ),
        (
            [784, 10],
            "softmax",
            np.nan,
            r"expected finite weights and biases, the network in .*net.npz has NaN or infinity",
        ),
    ],
)
def test_refused_networks(capsys, tmp_path, sizes, activations, value, message):
    path = saved(tmp_path / "net.npz", sizes, activations, value)
    with pytest.raises(ValueError, match=message):
        draw.load_network(path)
    assert re.fullmatch(rf"nnpy draw: {message}\n", error_of(capsys, "--port", "0", "--model", path))


def test_other_network(serving, tmp_path):
    path = saved(tmp_path / "net.npz", [784, 10], "sigmoid")
    with serving(draw.load_network(path)) as server:
        status, response = post(server, {"pixels": PIXELS})
    assert (status, response["hidden"]) == (200, [])
    assert response["probabilities"] == nnpy.load(path).predict(np.divide([PIXELS], 255, dtype=np.float32))[0].tolist()


def test_files_without_a_network(capsys, tmp_path):
    (tmp_path / "text").write_text("not a network")
    assert error_of(capsys, "--model", tmp_path / "text").startswith("nnpy draw: ")
    missing = tmp_path / "missing.npz"
    assert error_of(capsys, "--model", missing) == f"nnpy draw: cannot read {missing}: {os.strerror(errno.ENOENT)}\n"


def test_many_connections_at_once(net):
    """They wait until the server accepts them. With a short queue the system drops some, and connecting takes a second."""
    with draw.Server(net, 0) as server, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.server_port)
        connections = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(100)]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for connection in connections:
            host = f"127.0.0.1:{server.server_port}"
            connection.sendall(f"GET /network HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answers = [b"".join(iter(lambda c=c: c.recv(65536), b"")) for c in connections]
        server.shutdown()
        thread.join()
    assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}


def test_port_in_use(capsys, server):
    assert error_of(capsys, "--port", server.server_port) == (
        f"nnpy draw: cannot listen on port {server.server_port}: it is in use by another program; "
        "--port 0 takes any free port\n"
    )
    assert_alive(server)


def test_port_that_is_not_permitted(capsys, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(draw, "Server", refuse)
    assert error_of(capsys, "--port", 80) == (
        "nnpy draw: cannot listen on port 80: Permission denied; --port 0 takes any free port\n"
    )


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_wrong_ports(capsys, port):
    with pytest.raises(SystemExit) as exit_:
        main.main(["draw", "--port", port])
    assert exit_.value.code == 2
    assert f"argument --port: expected a whole number from 0 to 65535, got '{port}'" in capsys.readouterr().err


def test_browser_is_opened_unless_no_browser(monkeypatch, capsys):
    opened, done = [], threading.Event()

    def open_(url):
        opened.append((url, urllib.request.urlopen(url, timeout=20).read()))
        done.set()

    def serve(server):
        thread = threading.Thread(target=lambda: (done.wait(20), server.shutdown()))
        thread.start()
        original(server, 0.01)
        thread.join()
        raise KeyboardInterrupt

    original = draw.Server.serve_forever
    monkeypatch.setattr(draw.Server, "serve_forever", serve)
    monkeypatch.setattr(draw.webbrowser, "open", open_)
    assert main.main(["draw", "--port", "0"]) == 130
    out = capsys.readouterr()
    assert out.err == "nnpy: interrupted\n"
    ((url, content),) = opened
    assert out.out == f"Draw digits at {url} (Ctrl-C stops the server)\n"
    assert b"Draw a digit" in content
    assert main.main(["draw", "--port", "0", "--no-browser"]) == 130
    assert len(opened) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="the test sends a signal")
@pytest.mark.slow
def test_ctrl_c_stops_the_process(start_process, tmp_path):
    process = start_process([sys.executable, "-m", "nnpy", "draw", "--no-browser", "--port", "0"], cwd=tmp_path)
    url = process.stdout.readline().split()[3]  # "Draw digits at URL ..."
    with urllib.request.urlopen(url + "network", timeout=20) as response:
        assert json.load(response)["layer_sizes"][0] == 784
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "nnpy: interrupted\n")
    assert process.returncode == 130
