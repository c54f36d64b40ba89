"""The page of ``nnpy draw`` in a real browser: digits are drawn with mouse, finger and keyboard, and predictions are read.

NNPY_DRAW_PICTURE=docs/draw.png pytest -k picture tests/test_draw_page.py takes the screenshot for docs/digits.md.
"""

import base64
import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import nnpy
from nnpy._commands import draw

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'nnpy[browser]'")
from selenium import webdriver
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.keys import Keys

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="Chromium and its driver are not installed: apt install chromium chromium-driver",
    ),
]

# Handwritten digits: lists of strokes, which are lists of points, from 0 to 1 across and down the pad.
# fmt: off
DIGITS = [
    [[(.52, .15), (.38, .2), (.29, .35), (.27, .52), (.32, .7), (.43, .83), (.55, .84), (.66, .75), (.73, .58), (.73, .4),
      (.66, .23), (.55, .15)]],
    [[(.55, .14), (.52, .5), (.48, .86)]],
    [[(.3, .3), (.35, .2), (.48, .14), (.61, .18), (.67, .3), (.62, .44), (.48, .62), (.3, .82), (.42, .79), (.55, .8),
      (.72, .83)]],
    [[(.32, .2), (.45, .14), (.6, .17), (.66, .28), (.6, .4), (.46, .48), (.62, .53), (.7, .65), (.65, .79), (.5, .86),
      (.33, .82)]],
    [[(.36, .16), (.3, .36), (.3, .52), (.45, .54), (.7, .5)], [(.66, .14), (.63, .5), (.6, .87)]],
    [[(.38, .16), (.34, .45), (.48, .42), (.62, .48), (.68, .62), (.62, .77), (.48, .85), (.32, .8)],
     [(.38, .16), (.55, .15), (.7, .14)]],
    [[(.6, .14), (.45, .28), (.36, .48), (.34, .68), (.42, .83), (.56, .85), (.67, .75), (.65, .62), (.53, .56), (.42, .6),
      (.35, .7)]],
    [[(.28, .2), (.5, .18), (.72, .17), (.63, .38), (.54, .6), (.47, .86)]],
    [[(.64, .24), (.52, .15), (.38, .2), (.37, .33), (.5, .47), (.64, .6), (.66, .75), (.54, .86), (.4, .82), (.36, .68),
      (.46, .52), (.6, .38), (.65, .25)]],
    [[(.66, .28), (.55, .17), (.4, .2), (.34, .33), (.4, .46), (.54, .46), (.65, .34), (.67, .26), (.65, .5), (.6, .7),
      (.55, .86)]],
]
# fmt: on


class Page:
    """The page in a browser, and the actions of a user."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, server, width=1280, height=720, theme="light", scale=1, mobile=False, motion="no-preference"):
        features = {"prefers-color-scheme": theme, "prefers-reduced-motion": motion}
        media = {"features": [{"name": name, "value": value} for name, value in features.items()]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.get(server.url)
        self.until("document.getElementById('network').textContent.startsWith('Network: ')")
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(f"return {script}", *arguments)

    def until(self, condition, *arguments):
        """Wait until a condition in JavaScript is true."""
        end = time.monotonic() + 10
        while not self.run(condition, *arguments):
            assert time.monotonic() < end, f"{condition} never came true"
            time.sleep(0.01)

    def text(self, name):
        return self.run("document.getElementById(arguments[0]).textContent", name)

    def draw(self, strokes, kind="mouse"):
        """Draw strokes with real pointer events, and wait for the prediction."""
        left, top, size = self.run(
            "(r => [r.left, r.top, r.width])(document.getElementById('pad').getBoundingClientRect())"
        )
        for stroke in strokes:
            builder = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=2)
            points = [(round(left + x * size), round(top + y * size)) for x, y in stroke]
            builder.pointer_action.move_to_location(*points[0])
            builder.pointer_action.pointer_down()
            for point in points[1:]:
                builder.pointer_action.move_to_location(*point)
            builder.pointer_action.pointer_up()
            builder.perform()
        self.settle()

    def settle(self):
        """Wait until the page has drawn a change, in the next frame, and shows the prediction for it."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )
        self.until("document.querySelector('#prediction[aria-busy=false], #problem:not([hidden])')")

    def press(self, *keys, holding=()):
        builder = ActionBuilder(self.driver, duration=0)
        for key in holding:
            builder.key_action.key_down(key)
        for key in keys:
            builder.key_action.key_down(key)
            builder.key_action.key_up(key)
        for key in holding:
            builder.key_action.key_up(key)
        builder.perform()
        self.settle()

    def click(self, name):
        self.driver.find_element("id", name).click()
        self.settle()

    @property
    def prediction(self):
        return self.text("digit")

    @property
    def ink(self):
        """The image on the page, shape (28, 28), from 0 to 255."""
        return self.pixels[:, :, 3]

    @property
    def pixels(self):
        """The image on the page with its colours, shape (28, 28, 4). It is copied first: reading a canvas makes it slower."""
        data = self.driver.execute_script("""
            const context = document.createElement("canvas").getContext("2d");
            context.drawImage(document.getElementById("image"), 0, 0);
            return [...context.getImageData(0, 0, 28, 28).data];
        """)
        return np.array(data).reshape(28, 28, 4)

    def screenshot(self, path):
        picture = self.driver.execute_cdp_cmd("Page.captureScreenshot", {})
        Path(path).write_bytes(base64.b64decode(picture["data"]))

    def image_of(self, strokes):
        """The image that the page computes from strokes, shape (28, 28)."""
        pixels = self.driver.execute_async_script(
            "const done = arguments[1];"
            "import('/image.js').then((file) => done(file.imageOf(arguments[0])), (error) => done(String(error)))",
            strokes,
        )
        return np.array(pixels).reshape(28, 28)


@pytest.fixture(scope="module")
def server(serving):
    with serving(draw.load_network(None)) as server:
        yield server


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-extensions",
        "--disable-sync",
        "--no-first-run",
        "--disable-lcd-text",  # the screenshot must not depend on the pixels of a screen
        "--disable-dev-shm-usage",  # containers have little shared memory
    ):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # with its sandbox Chromium does not start for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(10)
    yield driver
    driver.quit()


@pytest.fixture
def page(driver, server):
    driver.get("about:blank")
    for log in ("browser", "performance"):
        driver.get_log(log)  # drops the entries of earlier tests
    page = Page(driver).open(server)
    yield page
    # The page reports no errors and asks no other server.
    assert [entry["message"] for entry in driver.get_log("browser")] == []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            assert message["params"]["request"]["url"].startswith(server.url)


@pytest.mark.parametrize("digit", range(10))
def test_page_shows_the_prediction(page, digit):
    page.draw(DIGITS[digit])
    assert page.prediction == str(digit)
    bars = [line.split() for line in page.run("[...document.querySelectorAll('#bars li')].map((bar) => bar.innerText)")]
    assert [bar[0] for bar in bars] == list("0123456789")
    assert page.run("[...document.querySelectorAll('.predicted .name')].map((name) => name.textContent)") == [
        str(digit)
    ]
    assert re.fullmatch(r"probability (over\u00a0)?\d\d\u00a0%", page.text("probability"))
    page.until("document.getElementById('status').textContent.startsWith(arguments[0])", f"{digit}, ")
    assert re.fullmatch(rf"{digit}, probability (over )?\d\d percent", page.text("status"))


@pytest.mark.parametrize("digit", range(10))
def test_size_and_position_do_not_matter(page, digit):
    page.draw([[(0.6 + 0.35 * x, 0.62 + 0.35 * y) for x, y in stroke] for stroke in DIGITS[digit]])
    assert page.prediction == str(digit)


def test_a_finger_draws_and_does_not_scroll(page, server):
    page.open(server, 360, 500, mobile=True)
    page.draw(DIGITS[2], POINTER_TOUCH)
    assert page.prediction == "2"
    assert page.run("window.scrollY") == 0
    assert page.run("getComputedStyle(document.getElementById('pad')).touchAction") == "none"


def test_coalesced_events(page):
    # An event of a fast line holds several positions. It is made by hand here: in a real one they depend on the time.
    page.driver.execute_script("""
        const pad = document.getElementById("pad");
        const { left, top, width } = pad.getBoundingClientRect();
        pad.setPointerCapture = () => {};
        const event = (type, [x, y], coalescedEvents = []) => new PointerEvent(type, {
            pointerId: 7, button: 0, clientX: left + x * width, clientY: top + y * width, coalescedEvents });
        const [first, ...rest] = arguments[0];
        pad.dispatchEvent(event("pointerdown", first));
        pad.dispatchEvent(event("pointermove", rest.at(-1), rest.map((point) => event("pointermove", point))));
        pad.dispatchEvent(event("pointerup", rest.at(-1)));
    """, DIGITS[0][0])  # fmt: skip
    page.settle()
    assert page.prediction == "0"


def test_undo_and_clear(page):
    disabled = "['undo', 'clear'].map((id) => document.getElementById(id).ariaDisabled)"
    assert page.run(disabled) == ["true", "true"]
    page.click("undo")
    page.click("clear")
    page.draw(DIGITS[4])
    assert page.run(disabled) == ["false", "false"]
    both = page.ink
    page.click("undo")
    assert page.ink.any()
    assert (page.ink != both).any()
    page.click("undo")
    assert not page.ink.any()
    assert page.text("probability") == "Nothing drawn yet"
    assert page.text("status") == "Undone, the pad is empty"

    page.draw(DIGITS[4])
    page.click("clear")
    assert not page.ink.any()
    assert (page.prediction, page.text("status")) == ("?", "Cleared")
    assert page.run("document.activeElement.id") == "clear"
    page.click("undo")
    np.testing.assert_array_equal(page.ink, both)
    assert page.prediction == "4"
    for key in (Keys.ESCAPE, Keys.DELETE, Keys.BACKSPACE):
        page.press(key)
        assert not page.ink.any()
        page.press("z", holding=[Keys.CONTROL])
        np.testing.assert_array_equal(page.ink, both)


def test_other_mouse_buttons_do_not_draw(page):
    builder = ActionBuilder(page.driver, duration=2)
    builder.pointer_action.move_to_location(200, 300)
    builder.pointer_action.pointer_down(button=2)
    builder.pointer_action.move_to_location(300, 400)
    builder.pointer_action.pointer_up(button=2)
    builder.perform()
    page.settle()
    assert not page.ink.any()


def test_drawing_with_the_keyboard(page):
    page.press(Keys.TAB, Keys.TAB)  # after the help for the keyboard
    assert page.run("document.activeElement.id") == "pad"
    assert page.run("getComputedStyle(document.getElementById('pen')).display") == "block"
    outline = page.run("(s => [s.outlineStyle, s.outlineWidth])(getComputedStyle(document.activeElement))")
    assert outline == ["solid", "3px"]
    page.press(*[Keys.ARROW_LEFT] * 5, " ")
    assert page.text("status") == "Pen down, 30 % across, 20 % down"
    page.press(*[Keys.ARROW_RIGHT] * 9)
    page.press(*[Keys.ARROW_DOWN] * 2, *[Keys.END, Keys.ARROW_DOWN] * 6, " ")
    assert page.text("status") == "Pen up, 42 % across, 76 % down"
    assert page.prediction == "7"
    image = page.ink
    page.press(Keys.ARROW_UP, Keys.ARROW_LEFT)
    np.testing.assert_array_equal(page.ink, image)  # the pen is up
    page.press("z", holding=[Keys.CONTROL])
    assert not page.ink.any()
    # Two arrow keys together move diagonally; with Shift the steps are small.
    page.press(" ", Keys.ARROW_RIGHT, holding=[Keys.ARROW_UP])
    page.press(Keys.ARROW_UP, holding=[Keys.SHIFT])
    page.press(" ")
    assert page.text("status") == "Pen up, 42 % across, 63 % down"


def test_leaving_the_pad_lifts_the_pen(page):
    page.press(Keys.TAB, Keys.TAB, " ", Keys.ARROW_DOWN)
    image = page.ink
    page.press(Keys.TAB)
    assert page.run("document.activeElement.id") == "undo"
    page.press(Keys.TAB, holding=[Keys.SHIFT])
    page.press(*[Keys.ARROW_RIGHT] * 5)
    np.testing.assert_array_equal(page.ink, image)


def test_accessible_names(page):
    page.draw(DIGITS[8])
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    assert {name for role, name in seen if role == "button"} == {"Undo", "Clear"}
    assert ("application", "Drawing pad") in seen
    digit, *layers = (name for role, name in seen if role in {"img", "image"})
    assert digit == "Your digit in 28 by 28 grey pixels"
    assert len(layers) == 2
    for number, layer in enumerate(layers, 1):
        assert re.fullmatch(rf"Hidden layer {number}: [1-9]\d* of 48 neurons are positive", layer)
    assert ("list", "Probability of each digit") in seen
    assert [role for role, _ in seen].count("listitem") == 10
    assert [name for role, name in seen if role == "heading"] == [
        "Draw a digit",
        "Drawing",
        "Input and hidden layers",
        "Prediction",
    ]
    page.until("document.querySelector('[role=status][aria-live=polite]').textContent.startsWith('8, ')")
    described = page.run("document.getElementById(document.getElementById('pad').getAttribute('aria-describedby'))")
    assert "arrow keys move the pen" in described.get_attribute("textContent")


def luminance(colour):
    """Relative luminance, as the Web Content Accessibility Guidelines define it."""
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(page, server, theme):
    page.open(server, theme=theme)
    page.draw(DIGITS[5])
    style = "getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    background = page.run(style, "body", "backgroundColor")
    assert (luminance(background) > 0.5) == (theme == "light")
    for selector in (
        "h1",
        "h2",
        "#network",
        "#probability",
        "#digit",
        "figcaption",
        "summary",
        ".percent",
        ".predicted .percent",
    ):
        assert contrast(page.run(style, selector, "color"), background) >= 4.5, selector
    for selector in ("#undo", "#hint"):
        surface = page.run(style, "#undo", "backgroundColor")
        assert contrast(page.run(style, selector, "color"), surface) >= 4.5, selector
    for selector in ("#pad", "#undo"):
        assert contrast(page.run(style, selector, "borderTopColor"), background) >= 3, selector
    assert (
        contrast(page.run(style, ".predicted .fill", "backgroundColor"), page.run(style, ".track", "backgroundColor"))
        >= 3
    )
    # The canvases follow the theme, also if it changes while the page is open.
    for now in (theme, "light" if theme == "dark" else "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": now}]}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        page.settle()
        black = page.pixels[page.ink == 255]
        assert len(black)
        assert (black[:, 0] < 128).all() == (now == "light")


PARTS = ["#pad", "#undo", "#clear", "#image", ".layers figure", ".layers canvas", "#digit", "#probability", "#bars li",
         ".name", ".track", ".percent", "figcaption", "summary", "h1", "#network"]  # fmt: skip
SIZES = [(1280, 720), (360, 640), (390, 844)]


def boxes_of(page, selector):
    """Left, top, right and bottom of each element, shape (elements, 4), in pixels of the viewport."""
    return np.array(page.run("""[...document.querySelectorAll(arguments[0])].map((element) => {
        const { left, top, right, bottom } = element.getBoundingClientRect();
        return [left, top, right, bottom];
    })""", selector))  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_everything_is_visible_without_scrolling(page, server, width, height, theme):
    page.open(server, width, height, theme, mobile=width < 500)
    page.draw(DIGITS[8])
    assert page.run("[window.innerWidth, window.innerHeight]") == [width, height]
    document = page.run("(e => [e.scrollWidth, e.scrollHeight])(document.documentElement)")
    assert document[0] <= width
    assert document[1] <= height
    boxes = {selector: boxes_of(page, selector) for selector in PARTS}
    counts = {"#bars li": 10, ".name": 10, ".track": 10, ".percent": 10, "figcaption": 3}
    counts |= {".layers figure": 2, ".layers canvas": 2}
    for selector, box in boxes.items():
        assert len(box) == counts.get(selector, 1), selector
        assert (box[:, :2] >= 0).all(), selector
        assert (box[:, 2:] <= [width, height]).all(), selector
        assert (box[:, 2:] - box[:, :2] > 0).all(), selector
    # These parts do not overlap, each in both directions.
    separate = [
        "#pad",
        "#undo",
        "#clear",
        "#image",
        ".layers figure",
        "#digit",
        "#probability",
        "#bars li",
        "h1",
        "summary",
    ]
    rectangles = np.concatenate([boxes[selector] for selector in separate])
    for i, (left, top, right, bottom) in enumerate(rectangles):
        for other_left, other_top, other_right, other_bottom in rectangles[:i]:
            across = min(right, other_right) - max(left, other_left)
            down = min(bottom, other_bottom) - max(top, other_top)
            assert min(across, down) <= 0.5
    # Text is inside its box and large enough to read, touch targets are at least 40 pixels, pictures are not tiny.
    for selector, least in {".name": 14, ".percent": 14, "#probability": 14, "figcaption": 12, "button": 14}.items():
        assert page.run(
            "[...document.querySelectorAll(arguments[0])].every((element) =>"
            "parseFloat(getComputedStyle(element).fontSize) >= arguments[1] && element.scrollWidth <= element.clientWidth + 1)",
            selector,
            least,
        ), selector
    for selector, (least_width, least_height) in {
        "#undo": (40, 40),
        "#clear": (40, 40),
        "summary": (40, 40),
        "#pad": (240, 240),
        "#image": (84, 84),
        ".layers canvas": (100, 50),
        "#bars li": (120, 18),
    }.items():
        size = boxes[selector][:, 2:] - boxes[selector][:, :2]
        assert (size >= [least_width, least_height]).all(), selector


@pytest.mark.parametrize(
    "layer_sizes", [(784, 10), (784, 3, 10), (784, 300, 10), (784, 1024, 512, 10), (784, 32, 32, 32, 32, 10)]
)
@pytest.mark.parametrize(("width", "height"), [*SIZES, (844, 390), (768, 1024), (1920, 1080)])
def test_other_networks_and_screens_need_no_scrolling(page, serving, layer_sizes, width, height):
    net = nnpy.NeuralNetwork(layer_sizes, ["tanh"] * (len(layer_sizes) - 2) + ["softmax"], seed=0)
    with serving(net) as server:
        page.open(server, width, height, mobile=width < 1000)
        page.draw(DIGITS[2])
        document = page.run("(e => [e.scrollWidth, e.scrollHeight])(document.documentElement)")
        neurons = boxes_of(page, ".layers canvas")
        page.driver.get("about:blank")
        for log in ("browser", "performance"):
            page.driver.get_log(log)  # the requests of this server, not of the fixture's
    assert document[0] <= width
    assert document[1] <= height
    assert len(neurons) == len(layer_sizes) - 2
    if len(neurons):
        assert (neurons[:, 2:] <= [width, height]).all()
        assert (neurons[:, 3] - neurons[:, 1] > 10).all()


@pytest.mark.parametrize("width", [320, 360, 700, 1000, 1600])
def test_no_width_scrolls_sideways(page, server, width):
    page.open(server, width, 740, mobile=width < 500)
    page.draw(DIGITS[5])
    page.driver.execute_script("document.querySelector('details').open = true")  # the help for the keyboard
    assert page.run("document.documentElement.scrollWidth") <= page.run("window.innerWidth") <= width


@pytest.mark.parametrize(("motion", "duration"), [("no-preference", "0.12s"), ("reduce", "0s")])
def test_reduced_motion(page, server, motion, duration):
    page.open(server, motion=motion)
    assert page.run("getComputedStyle(document.querySelector('.fill')).transitionDuration") == duration


def test_a_failed_prediction_is_retried(driver, server):
    def fail(self):
        raise draw._Refusal(draw.HTTPStatus.BAD_REQUEST, "not today")

    page = Page(driver).open(server)  # not the fixture, which refuses the error that the browser logs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw._Handler, "_predict", fail)
        page.draw(DIGITS[3])
        assert page.text("problem") == 'No prediction from nnpy: not today. Is "nnpy draw" still running?'
        assert page.run("document.getElementById('problem').getAttribute('role')") == "alert"
        assert page.prediction == "?"
    page.until("document.getElementById('problem').hidden")
    assert page.prediction == "3"


# ---- The image of the network, preprocessed as in MNIST


def centre(image):
    """Centre of mass (x, y), where the middle of a pixel is at its index."""
    y, x = np.indices(image.shape)
    return (image * x).sum() / image.sum(), (image * y).sum() / image.sum()


def box(image):
    """Width and height of the smallest box around the ink."""
    return tuple(int(np.ptp(np.flatnonzero(image.any(axis=axis)))) + 1 for axis in (0, 1))


def supersampled(strokes, fine=16):
    """The box of 20 x 20 pixels by supersampling: the mean of 16 x 16 black or white points in each pixel."""
    points = np.concatenate([np.array(stroke, float) for stroke in strokes])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (20 - 2 * (1.35 + 0.5)) / max(*(high - low), 0.2)
    places = (np.arange(20 * fine) + 0.5) / fine
    grid = np.stack(np.meshgrid(places, places), axis=-1)
    black = np.zeros(grid.shape[:2], bool)
    for stroke in strokes:
        path = 10 + scale * (np.array(stroke, float) - (low + high) / 2)
        for a, b in zip(path, path[1:] if len(path) > 1 else path, strict=False):
            length = ((b - a) ** 2).sum()
            along = np.clip(((grid - a) @ (b - a)) / length, 0, 1)[..., None] if length else 0
            black |= ((grid - a - along * (b - a)) ** 2).sum(axis=-1) <= 1.35**2
    grey = black.reshape(20, fine, 20, fine).mean(axis=(1, 3))
    return 255 * grey


@pytest.mark.parametrize("digit", range(10))
def test_image_is_centred_and_in_its_box(page, digit):
    image = page.image_of(DIGITS[digit])
    assert image.dtype.kind == "i"
    assert image.min() == 0
    assert image.max() == 255
    assert centre(image) == pytest.approx((14, 14), abs=0.51)
    assert max(box(image)) == 20
    boxes = np.lib.stride_tricks.sliding_window_view(image, (20, 20))
    differences = np.abs(boxes - supersampled(DIGITS[digit]))
    at = np.unravel_index(differences.mean(axis=(2, 3)).argmin(), boxes.shape[:2])
    assert differences[at].mean() < 4  # of 255
    assert differences[at].max() < 100  # the difference is largest where lines meet
    assert boxes[at].sum() == image.sum()
    # The position and the size of the drawing do not change the image.
    moved = page.image_of([[(0.1 + 0.5 * x, 0.45 + 0.5 * y) for x, y in stroke] for stroke in DIGITS[digit]])
    assert np.abs(image - moved).max() <= 1


def test_image_keeps_the_proportions(page):
    # A rectangle that is twice as high as wide. Its lines are 3.7 pixels wide, with their grey edges.
    image = page.image_of([[(0.3, 0.1), (0.7, 0.1), (0.7, 0.9), (0.3, 0.9), (0.3, 0.1)]])
    width, height = box(image)
    assert height == 20
    assert width == pytest.approx(16.3 / 2 + 3.7, abs=1)
    upright, flat = box(page.image_of([[(0.5, 0.2), (0.5, 0.8)]])), box(page.image_of([[(0.2, 0.5), (0.8, 0.5)]]))
    assert upright == flat[::-1]
    assert upright[1] == 20
    assert upright[0] <= 4


def test_image_without_strokes_and_of_a_dot(page):
    assert not page.image_of([]).any()
    for dot in ([[(0.9, 0.1)]], [[(0.9, 0.1), (0.9, 0.1)]]):
        image = page.image_of(dot)
        assert box(image) == (4, 4)
        assert centre(image) == pytest.approx((14, 14), abs=0.51)
        assert image.sum() / 255 == pytest.approx(np.pi * 1.35**2, rel=0.1)
    tiny = page.image_of([[(0.5, 0.5), (0.51, 0.5)]])
    assert max(box(tiny)) <= 6


def test_ink_outside_of_the_image_is_cut_off(page):
    scribble = [[(0.1 + 0.1 * (i % 2), 0.1 + 0.004 * i) for i in range(50)], [(0.9, 0.9)]]
    image = page.image_of(scribble)
    assert image.shape == (28, 28)
    assert image.max() == 255


def test_amount_of_ink_is_as_in_mnist(page, mnist_folder):
    import gzip

    path = mnist_folder / "t10k-images-idx3-ubyte"
    content = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())
    theirs = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
    ours = np.stack([page.image_of(strokes) for strokes in DIGITS])
    assert ours.sum() / len(ours) == pytest.approx(theirs.sum() / len(theirs), rel=0.15)
    assert (ours[ours > 0] > 250).mean() == pytest.approx((theirs[theirs > 0] > 250).mean(), abs=0.1)


@pytest.mark.skipif(
    "NNPY_DRAW_PICTURE" not in os.environ, reason="NNPY_DRAW_PICTURE does not name the picture to write"
)
def test_picture(page, server):
    page.open(server)
    page.draw(DIGITS[3])
    page.until("document.getElementById('status').textContent")  # the bars have arrived by then
    page.screenshot(os.environ["NNPY_DRAW_PICTURE"])
