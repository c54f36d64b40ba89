"""The server of ``nnpy draw``: what it answers, and each request that it refuses, over real connections."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest

import nnpy
from nnpy._commands import draw as _draw
from nnpy._commands import main as _cli

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
    """Return the status, the headers and the content of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers), **options)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def raw(server, *lines, body=b""):
    """Send these lines and this body as they are; return all that comes back."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode("latin-1") + body)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def post(server, content, headers=()):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    status, _, answer = request(server, "POST", "/answer", body, {**JSON, **dict(headers)})
    return status, json.loads(answer)


def assert_alive(server):
    assert post(server, {"pixels": PIXELS})[0] == 200


def test_answer_is_that_of_the_network(server, net):
    x = np.divide([PIXELS], 255, dtype=np.float32)
    status, answer = post(server, {"pixels": PIXELS})
    assert status == 200
    assert answer.keys() == {"probabilities", "hidden"}
    assert answer["probabilities"] == net.predict(x)[0].tolist()
    first = np.maximum(x @ net.weights[0] + net.biases[0], 0)
    second = np.tanh(first @ net.weights[1] + net.biases[1])
    assert [len(layer) for layer in answer["hidden"]] == [7, 5]
    np.testing.assert_allclose(answer["hidden"][0], first[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answer["hidden"][1], second[0], rtol=1e-5, atol=1e-5)
    assert max(answer["hidden"][0]) > 0.1


def test_numbers_may_have_decimals_and_the_type_a_charset(server):
    status, _ = post(server, {"pixels": [0.5] * 784}, {"Content-Type": "application/json; charset=utf-8"})
    assert status == 200


def test_network_is_described(server):
    status, headers, content = request(server, path="/network")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(content) == {"layer_sizes": [784, 7, 5, 10], "activations": ["relu", "tanh", "softmax"]}


@pytest.mark.parametrize(
    ("path", "type_", "part"),
    [
        ("/", "text/html; charset=utf-8", b"<h1>Write a digit</h1>"),
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


def test_a_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    with contextlib.closing(connection):
        for _ in range(3):
            connection.request("POST", "/answer", json.dumps({"pixels": PIXELS}), JSON)
            assert connection.getresponse().read()
            first = connection.sock
        assert connection.sock is first


def test_localhost_is_another_name(server):
    host = f"LocalHost:{server.server_port}"
    assert request(server, headers={"Host": host})[0] == 200
    assert post(server, {"pixels": PIXELS}, {"Host": host, "Origin": f"http://{host.lower()}"})[0] == 200


def test_browsers_leave_out_port_80(net):
    with _draw.Server(net, 0) as server:
        assert "localhost" not in server.hosts
        server.server_port = 80
        assert {"localhost", "127.0.0.1", "localhost:80"} < server.hosts


def test_only_this_machine_can_connect(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "JSON in UTF-8 is expected: Expecting value"),
        (b'{"pixels": [1, 2', "JSON in UTF-8 is expected: Expecting ',' delimiter"),
        (b'{"pixels": "\xff"}', "JSON in UTF-8 is expected: 'utf-8' codec can't decode byte 0xff"),
        (b'{"pixels": [NaN]}', "JSON in UTF-8 is expected: NaN is no number in JSON"),
        (b'{"pixels": [-Infinity]}', "JSON in UTF-8 is expected: -Infinity is no number in JSON"),
        (b'{"pixels": [' + b"9" * 5000 + b"]}", "JSON in UTF-8 is expected: Exceeds the limit"),
        (b"[" * 60_000, "JSON is expected, got brackets in brackets in brackets"),
        ([1, 2], '{"pixels": [...]} is expected, got [1, 2]'),
        ({}, '{"pixels": [...]} is expected, got {}'),
        ({"pixels": PIXELS, "more": 1}, "{\"pixels\": [...]} is expected, got {'more': 1"),
        ({"pixels": None}, "pixels must be a list of 784 numbers, got None"),
        ({"pixels": "0" * 784}, "pixels must be a list of 784 numbers, got '000"),
        ({"pixels": PIXELS[1:]}, "pixels must be a list of 784 numbers, got 783"),
        ({"pixels": [*PIXELS, 0]}, "pixels must be a list of 784 numbers, got 785"),
        ({"pixels": [PIXELS]}, "pixels must be a list of 784 numbers, got 1"),
        ({"pixels": [*PIXELS[1:], "1"]}, "pixels must be numbers from 0 to 255, got '1'"),
        ({"pixels": [*PIXELS[1:], True]}, "pixels must be numbers from 0 to 255, got True"),
        ({"pixels": [*PIXELS[1:], None]}, "pixels must be numbers from 0 to 255, got None"),
        ({"pixels": [*PIXELS[1:], [1]]}, "pixels must be numbers from 0 to 255, got [1]"),
        ({"pixels": [*PIXELS[1:], -1]}, "pixels must be numbers from 0 to 255, got -1"),
        ({"pixels": [*PIXELS[1:], 255.5]}, "pixels must be numbers from 0 to 255, got 255.5"),
        (json.dumps({"pixels": PIXELS}).encode().replace(b"255]", b"1e999]"), "from 0 to 255, got inf"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_content_that_is_refused(server, content, message):
    status, answer = post(server, content)
    assert status == 400
    assert answer.keys() == {"error"}
    assert message in answer["error"]
    assert_alive(server)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"),
    [
        ("GET", "/else", {}, 404, "there is nothing at /else"),
        ("GET", "/../_draw.py", {}, 404, "there is nothing at /../_draw.py"),
        ("GET", "/%2e%2e/digits.npz", {}, 404, "there is nothing at /%2e%2e/digits.npz"),
        ("GET", "/page.js?x", {}, 404, "there is nothing at /page.js?x"),
        ("POST", "/else", JSON, 404, "there is nothing at /else"),
        ("GET", "/answer", {}, 405, "/answer is for POST, got GET"),
        ("PUT", "/answer", JSON, 405, "/answer is for POST, got PUT"),
        ("OPTIONS", "/answer", {}, 405, "/answer is for POST, got OPTIONS"),
        ("POST", "/", JSON, 405, "/ is for GET and HEAD, got POST"),
        ("DELETE", "/page.js", {}, 405, "/page.js is for GET and HEAD, got DELETE"),
        ("PATCH", "/network", JSON, 405, "/network is for GET and HEAD, got PATCH"),
        ("BREW", "/", {}, 501, "Unsupported method ('BREW')"),
        ("GET", "/", {"Host": "example.com"}, 403, "a Host of 127.0.0.1:PORT is expected, got example.com"),
        ("GET", "/", {"Host": "127.0.0.1"}, 403, "a Host of 127.0.0.1:PORT is expected, got 127.0.0.1"),
        ("GET", "/network", {"Host": "localhost:1"}, 403, "a Host of 127.0.0.1:PORT is expected, got localhost:1"),
        (
            "POST",
            "/answer",
            {**JSON, "Host": "evil.example:8784"},
            403,
            "a Host of 127.0.0.1:PORT is expected, got evil.example:8784",
        ),
        (
            "POST",
            "/answer",
            {**JSON, "Origin": "http://evil.example"},
            403,
            "an Origin of http://127.0.0.1:PORT is expected, got http://evil.example",
        ),
        (
            "POST",
            "/answer",
            {**JSON, "Origin": "null"},
            403,
            "an Origin of http://127.0.0.1:PORT is expected, got null",
        ),
        ("POST", "/answer", {}, 415, "a Content-Type of application/json is expected, got none"),
        (
            "POST",
            "/answer",
            {"Content-Type": "text/plain"},
            415,
            "a Content-Type of application/json is expected, got text/plain",
        ),
        ("POST", "/answer", {**JSON, "Content-Length": "+5"}, 400, "a Content-Length in bytes is expected, got +5"),
        ("POST", "/answer", {**JSON, "Content-Length": "-5"}, 400, "a Content-Length in bytes is expected, got -5"),
        ("POST", "/answer", {**JSON, "Content-Length": "65537"}, 413, "at most 65536 bytes are expected, got 65537"),
        ("POST", "/answer", {**JSON, "Content-Length": "9" * 5000}, 413, "at most 65536 bytes are expected, got 999"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_requests_that_are_refused(server, method, path, headers, status, message):
    body = json.dumps({"pixels": PIXELS}) if method == "POST" else None
    got, answered, content = request(server, method, path, body, headers)
    assert got == status
    assert json.loads(content)["error"].startswith(message.replace("PORT", str(server.server_port)))
    assert answered["Content-Type"] == "application/json"
    assert answered["Connection"] == "close"
    assert "Content-Security-Policy" in answered
    assert "Access-Control-Allow-Origin" not in answered
    if status == 405:
        assert answered["Allow"] == ("POST" if path == "/answer" else "GET, HEAD")
    assert_alive(server)


def test_large_content_is_told_so(server):
    status, answer = post(server, b" " * 1_000_000)
    assert (status, answer) == (413, {"error": "at most 65536 bytes are expected, got 1000000"})
    assert_alive(server)


def test_the_largest_content_is_read(server):
    body = json.dumps({"pixels": PIXELS}).encode()
    assert post(server, body + b" " * (65536 - len(body)))[0] == 200


def head(server, *more):
    return "POST /answer HTTP/1.1", f"Host: 127.0.0.1:{server.server_port}", "Content-Type: application/json", *more


def test_length_is_required(server):
    for more in ([], ["Transfer-Encoding: chunked"], ["Content-Length: 1", "Transfer-Encoding: chunked"]):
        answer = raw(server, *head(server, *more), body=b"0\r\n\r\n")
        assert answer.startswith("HTTP/1.1 411 ")
        assert answer.endswith('{"error": "a Content-Length is expected, and no Transfer-Encoding"}')
    answer = raw(server, *head(server, "Content-Length: 1", "Content-Length: 2"), body=b"{}")
    assert answer.endswith('{"error": "a Content-Length in bytes is expected, got 1, 2"}')
    assert_alive(server)


def test_content_that_ends_early(server):
    answer = raw(server, *head(server, "Content-Length: 100"), body=b"{}")
    assert answer.startswith("HTTP/1.1 400 ")
    assert answer.endswith('{"error": "100 bytes are expected, got 2"}')
    assert_alive(server)


def test_content_that_does_not_come(server, monkeypatch):
    monkeypatch.setattr(_draw._Handler, "timeout", 0.2)
    lines = "\r\n".join((*head(server, "Content-Length: 100"), "", ""))
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(lines.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 408 ")
    assert answer.endswith('{"error": "100 bytes are expected, nothing came for 0.2 s"}')
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        assert connection.recv(1) == b""  # nor does an idle connection stay
    assert_alive(server)


def test_requests_without_one_host(server):
    for hosts in ([], [f"Host: 127.0.0.1:{server.server_port}", "Host: example.com"]):
        answer = raw(server, "GET / HTTP/1.1", *hosts)
        assert answer.startswith("HTTP/1.1 403 ")
    assert "is expected, got none" in raw(server, "GET / HTTP/1.1")
    assert_alive(server)


@pytest.mark.parametrize(
    "line", ["", "nonsense", "GET / HTTP/9.9", "GET / FTP/1", "GET /" + "x" * 70_000 + " HTTP/1.1"]
)
def test_what_is_no_request(server, line, capfd):
    answer = raw(server, line, f"Host: 127.0.0.1:{server.server_port}")
    assert "200 OK" not in answer
    assert "Traceback" not in answer
    assert "<" not in answer
    assert_alive(server)
    assert capfd.readouterr().err == ""


def test_content_of_a_get_is_no_second_request(server):
    smuggled = f"GET /network HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode()
    host = f"Host: 127.0.0.1:{server.server_port}"
    answer = raw(server, "GET /icon.svg HTTP/1.1", host, f"Content-Length: {len(smuggled)}", body=smuggled)
    assert answer.count("HTTP/1.1 200 OK") == 1
    assert "layer_sizes" not in answer


def test_who_leaves_early_is_not_reported(server, capfd):
    for _ in range(3):
        connection = socket.create_connection(("127.0.0.1", server.server_port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end
        connection.sendall(b"GET / HTTP/1.1\r\n")
        connection.close()
    assert_alive(server)
    assert capfd.readouterr().err == ""


def test_error_of_ours_is_not_shown_to_the_client(server, monkeypatch, capfd):
    def fail(body):
        raise ZeroDivisionError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr(_draw, "_read_pixels", fail)
        status, answer = post(server, {"pixels": PIXELS})
    assert (status, answer) == (500, {"error": "an error in nnpy: the terminal in which it runs says which"})
    assert_alive(server)
    printed, end = "", time.monotonic() + 20
    while "ZeroDivisionError: a secret" not in printed and time.monotonic() < end:  # after the answer
        time.sleep(0.01)
        printed += capfd.readouterr().err
    assert "ZeroDivisionError: a secret" in printed


def test_many_at_once(server, net):
    answers = [None] * 8

    def ask(i):
        answers[i] = [post(server, {"pixels": [i] * 784}) for _ in range(10)]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, answer in enumerate(answers):
        expected = net.predict(np.full((1, 784), i / 255, np.float32))[0].tolist()
        for status, content in answer:
            assert status == 200
            assert content["probabilities"] == expected


def test_network_of_nnpy_knows_digits(mnist_images):
    x, labels = mnist_images
    net = _draw.read_network(None)
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


def saved(path, sizes, activations, value=0.0):
    net = nnpy.NeuralNetwork(sizes, activations, seed=0)
    net.parameters[0] = value
    net.save(path)
    return str(path)


@pytest.mark.parametrize(
    ("sizes", "activations", "value", "message"),
    [
        ([2, 2, 1], "sigmoid", 0, r"784 inputs and 10 outputs is expected, .*net.npz has 2 and 1"),
        ([784, 26], "softmax", 0, r"784 inputs and 10 outputs is expected, .*net.npz has 784 and 26"),
        (
            [784, 3, 10],
            ["relu", "linear"],
            0,
            r"a last layer of softmax or sigmoid, .* is expected, .*net.npz has linear",
        ),
        ([784, 10], "softmax", np.nan, r"finite weights and biases are expected, .*net.npz has NaN or infinity"),
    ],
)
def test_networks_that_are_refused(tmp_path, sizes, activations, value, message):
    path = saved(tmp_path / "net.npz", sizes, activations, value)
    with pytest.raises(ValueError, match=message):
        _draw.read_network(path)
    with pytest.raises(SystemExit, match=rf"^nnpy draw: .*{message}$"):
        _cli.main(["draw", "--no-browser", "--port", "0", "--model", path])


def test_another_network_answers(serving, tmp_path):
    path = saved(tmp_path / "net.npz", [784, 10], "sigmoid")
    with serving(_draw.read_network(path)) as server:
        status, answer = post(server, {"pixels": PIXELS})
    assert (status, answer["hidden"]) == (200, [])
    assert answer["probabilities"] == nnpy.load(path).predict(np.divide([PIXELS], 255, dtype=np.float32))[0].tolist()


def test_files_that_are_no_network(tmp_path):
    (tmp_path / "text").write_text("no network")
    with pytest.raises(SystemExit, match=r"^nnpy draw: .*text is no network that nnpy saved: "):
        _cli.main(["draw", "--no-browser", "--model", str(tmp_path / "text")])
    with pytest.raises(SystemExit, match=r"^nnpy draw: .*none.npz cannot be read: No such file or directory$"):
        _cli.main(["draw", "--no-browser", "--model", str(tmp_path / "none.npz")])


def test_port_that_is_taken(server):
    with pytest.raises(SystemExit) as exit_:
        _cli.main(["draw", "--no-browser", "--port", str(server.server_port)])
    assert exit_.value.code == (
        f"nnpy draw: port {server.server_port} is taken by another program; --port 0 takes any free one"
    )
    assert_alive(server)


def test_port_that_cannot_be_had(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_draw, "Server", refuse)
    with pytest.raises(SystemExit, match=r"^nnpy draw: port 80 cannot be had: Permission denied; --port 0 takes any"):
        _cli.main(["draw", "--no-browser", "--port", "80"])


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_mistaken_ports(capsys, port):
    with pytest.raises(SystemExit) as exit_:
        _cli.main(["draw", "--port", port])
    assert exit_.value.code == 2
    assert f"argument --port: a whole number from 0 to 65535 is expected, got '{port}'" in capsys.readouterr().err


def test_browser_is_opened_unless_it_is_not_wanted(monkeypatch, capsys):
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

    original = _draw.Server.serve_forever
    monkeypatch.setattr(_draw.Server, "serve_forever", serve)
    monkeypatch.setattr(_cli.webbrowser, "open", open_)
    assert _cli.main(["draw", "--port", "0"]) == 130
    out = capsys.readouterr()
    assert out.err == "nnpy: interrupted\n"
    ((url, content),) = opened
    assert out.out == f"Write digits at {url} (Ctrl-C ends this)\n"
    assert b"Write a digit" in content
    assert _cli.main(["draw", "--port", "0", "--no-browser"]) == 130
    assert len(opened) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="the test sends a signal")
def test_ctrl_c_ends_the_server(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "nnpy", "draw", "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    url = process.stdout.readline().split()[3]
    with urllib.request.urlopen(url + "network", timeout=20) as response:
        assert json.load(response)["layer_sizes"][0] == 784
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "nnpy: interrupted\n")
    assert process.returncode == 130
