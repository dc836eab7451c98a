"""The page behind an FOTP link in a real browser: one gateway between a fake broker and Redis,
opened by headless Chromium with a phone's and a desktop's user agent. Screenshots are left in the
folder that OTPQ_SCREENSHOTS names, else in the test's own."""
import os
import re
import subprocess
import urllib.parse

import pytest

from fake_broker import result
from node import SLOW, http, wait_for
from test_gateway import Gateway

selenium = pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402

TOKEN = "200e96b6a8bf8ed8c3de194cf14b342f"
PATH = "/flash/opt/redirect/" + TOKEN
TEXT = "Send this to continue: ##FG5x-3872##"
ENCODED = "Send%20this%20to%20continue%3A%20%23%23FG5x-3872%23%23"
AGENTS = {
    "iphone": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
              "Version/17.4 Mobile/15E148 Safari/604.1",
    "android": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
               "Chrome/124.0.0.0 Mobile Safari/537.36",
    "desktop": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
}
SMS = {"iphone": "sms:1008611&body=" + ENCODED, "android": "sms:1008611?body=" + ENCODED,
       "desktop": "sms:1008611?body=" + ENCODED}
SIZES = {"iphone": (390, 844), "android": (360, 800), "desktop": (1280, 900)}
TITLES = {"en": "Confirm by SMS", "zh": "短信验证"}
RECORDS = """
accounts:
  demo-page:
    secret: page-secret
flash_templates:
  page:
    account: demo-page
    receivers: [1008612]
    content: "page-{code}"
  page-zh:
    account: demo-page
    receivers: [1008612]
    content: "nur-{code}"
    languages: [zh]
"""


def live(envelope, _):
    return result(envelope, "done", "pending", request_id=TOKEN, expires_in=290,
                  flash={"status": "0", "ft_id": "page", "receiver": "1008611", "text": TEXT})


@pytest.fixture(scope="module")
def gateway():
    with Gateway() as g:
        path = os.path.join(g.dir, "page.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(RECORDS)
        g.apply(path)
        wait_for(lambda: http(g.url(PATH, {}), timeout=5)[0] != 404, 10, "the gateway knows the template")
        yield g


@pytest.fixture(autouse=True)
def answers_live(gateway):
    gateway.broker.answer = live
    gateway.broker.jobs.clear()


class Browser:
    """One headless Chromium: an agent, a language, with or without scripts."""

    def __init__(self, agent, language, scripts=True, dark=False):
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                         "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
                         "--user-agent=" + AGENTS[agent], "--lang=" + language,
                         "--accept-lang=" + language):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(30 * SLOW)
        width, height = SIZES[agent]
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=agent != "desktop",
                 deviceScaleFactor=2)
        if dark:
            self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        if not scripts:
            self.cdp("Emulation.setScriptExecutionDisabled", value=True)
        else:
            # The Navigation API tells where the page wants to go, also when nothing takes sms: here.
            self.cdp("Page.addScriptToEvaluateOnNewDocument", source="""
                window.wanted = [];
                navigation.addEventListener("navigate", e => window.wanted.push(e.destination.url));""")

    def cdp(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def open(self, url):
        self.driver.get(url)
        return self

    def attribute(self, css, name):
        return self.driver.find_element("css selector", css).get_attribute(name)

    def text(self, css):
        return self.driver.find_element("css selector", css).text

    def complaints(self):
        """What the console holds, but for the scheme that no application takes here."""
        return [e["message"] for e in self.driver.get_log("browser") if "sms:" not in e["message"]]


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    folder = os.environ.get("OTPQ_SCREENSHOTS") or str(tmp_path_factory.mktemp("pages"))
    os.makedirs(folder, exist_ok=True)
    return folder


def screenshot(browser, folder, name):
    path = os.path.join(folder, name + ".png")
    browser.driver.save_screenshot(path)
    assert os.path.getsize(path) > 5000
    return path


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("agent", ["iphone", "android"])
def test_a_phone_opens_its_messages(gateway, shots, agent, language):
    with Browser(agent, language) as b:
        b.open(gateway.url(PATH, {}))
        wait_for(lambda: b.driver.execute_script("return window.wanted.length"), 10, "the page goes to sms:")
        assert b.driver.execute_script("return window.wanted") == [SMS[agent]]
        assert b.driver.execute_script("return document.documentElement.lang") == language
        assert b.driver.title == TITLES[language] == b.text("h1")
        assert TEXT in b.text("dl") and "1008611" in b.text("dl")
        assert b.complaints() == []
        width = SIZES[agent][0]
        assert b.driver.execute_script("return document.documentElement.scrollWidth") <= width
        screenshot(b, shots, "%s-%s" % (agent, language))


@pytest.mark.parametrize("agent", ["iphone", "android"])
def test_the_button_works_without_scripts(gateway, shots, agent):
    with Browser(agent, "en", scripts=False) as b:
        b.open(gateway.url(PATH, {}))
        assert b.attribute("a#open", "href") == SMS[agent]
        assert b.text("a#open") == "Open messages"
        screenshot(b, shots, agent + "-without-scripts")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_desktop_shows_a_code_of_the_link(gateway, shots, language):
    with Browser("desktop", language) as b:
        b.open(gateway.url(PATH, {}))
        assert b.text("h1") == TITLES[language]
        assert b.attribute("a#open", "href") == SMS["desktop"]
        assert b.driver.execute_script("return window.wanted") == []
        assert b.complaints() == []
        path = screenshot(b, shots, "desktop-" + language)
    seen = subprocess.run(["zbarimg", "--quiet", "--raw", "--nodbus", path], stdout=subprocess.PIPE, check=True)
    assert seen.stdout.decode().strip() == gateway.url(PATH, {}).rstrip("?")


def test_in_the_dark(gateway, shots):
    with Browser("android", "en", dark=True) as b:
        b.open(gateway.url(PATH, {}))
        assert contrast(b, ".button") >= 4.5
        assert contrast(b, "h1") >= 7
        screenshot(b, shots, "android-dark")
    with Browser("desktop", "en", dark=True) as b:
        b.open(gateway.url(PATH, {}))
        path = screenshot(b, shots, "desktop-dark")
    assert subprocess.run(["zbarimg", "--quiet", "--raw", "--nodbus", path], stdout=subprocess.PIPE).returncode == 0


def contrast(browser, css):
    """WCAG 2.1, 1.4.3: of an element's text on the first background behind it."""
    colours = browser.driver.execute_script("""
        const e = document.querySelector(arguments[0]);
        let behind = e;
        while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
        return [getComputedStyle(e).color, getComputedStyle(behind).backgroundColor];""", css)

    def luminance(colour):
        parts = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(luminance(c) for c in colours)
    return (high + 0.05) / (low + 0.05)


def test_screen_readers_and_keyboards(gateway):
    with Browser("desktop", "en") as b:
        b.open(gateway.url(PATH, {}))
        assert contrast(b, ".button") >= 4.5
        assert contrast(b, "dt") >= 4.5
        nodes = b.cdp("Accessibility.getFullAXTree")["nodes"]
        names = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if "role" in n}
        assert ("heading", TITLES["en"]) in names
        assert ("link", "Open messages") in names
        assert ("image", "QR code of this page's address") in names or ("img", "QR code of this page's address") in names


def test_the_template_says_which_languages(gateway):
    gateway.broker.answer = lambda e, b: result(e, "done", "pending", request_id=TOKEN, flash={
        "status": "0", "ft_id": "page-zh", "receiver": "1008612", "text": "nur-1234"})
    _, text, headers = http(gateway.url(PATH, {}), headers={"Accept-Language": "en"})
    assert '<html lang="zh" dir="ltr">' in text and headers["Content-Language"] == "zh"


def test_headers(gateway):
    status, text, headers = http(gateway.url(PATH, {}), headers={"User-Agent": AGENTS["desktop"]})
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert len(text.encode()) <= 16384
    assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = dict(p.strip().split(" ", 1) for p in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert set(policy["script-src"].split("-")[0:1]) == {"'sha256"} and "unsafe" not in str(policy)
    assert re.findall(r'(?:src|href|action)="(?!sms:)', text) == []


def test_what_there_is_not(gateway, shots):
    cases = {
        "unknown": (404, "Link not found", lambda e, b: result(e, "refused", "request_not_found", error="request_not_found")),
        "expired": (410, "This link has expired", lambda e, b: result(e, "refused", "otp_expired", error="otp_expired")),
        "failed": (410, "This link has expired", lambda e, b: result(e, "done", "pending", flash={"status": "1"})),
        "done": (410, "Confirmed", lambda e, b: result(e, "done", "otp_verified", flash={"status": "2"})),
        "away": (503, "Not available just now",
                 lambda e, b: ("N", {"id": e["id"], "error": "queue_full", "detail": "", "retry_after_ms": 2000}, {})),
    }
    for name, (status, title, answer) in cases.items():
        gateway.broker.answer = answer
        got, text, headers = http(gateway.url(PATH, {}), headers={"Accept-Language": "en"})
        assert (got, "<h1>%s</h1>" % title in text, "sms:" in text) == (status, True, False), name
        assert headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
        assert (headers["Retry-After"] == "2") == (name == "away")
    gateway.broker.answer = cases["expired"][2]
    with Browser("android", "zh") as b:
        b.open(gateway.url(PATH, {}))
        assert b.text("h1") == "链接已过期"
        screenshot(b, shots, "android-expired-zh")


def test_no_job_for_what_is_no_token(gateway):
    for token in ("x", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "..", urllib.parse.quote("<script>")):
        status, text, headers = http(gateway.url("/flash/opt/redirect/" + token, {}))
        assert status == 404 and "script>" not in text
    assert gateway.broker.jobs == []
    assert http(gateway.url(PATH, {}), method="POST", body=b"")[0] == 405
    assert http(gateway.url("/flash/opt/redirect/x", {}), method="HEAD")[:2] == (404, "")
    http(gateway.url(PATH, {}))
    (envelope, body), = gateway.broker.jobs
    assert (envelope["op"], envelope["route"][:6], body) == ("flash.query", "flash:", {"ft_token": TOKEN})
    assert TOKEN not in gateway.log()
