"""Two nodes: A calls B as its advertiser in each dialect, B delivers through its sandbox."""
import hashlib
import html
import json
import os
import re
import time
import urllib.parse

from node import Node, hash_password, http, wait_for

DIALECTS = ("template", "offer18", "otpservice", "fotp")
SYSTEMS = ("endpoint", "af", "otpservice", "fotp", "camara")
CALLBACK_TOKEN = "interop-callback-token"
PASSWORD = "interop-pass"
SECRET = "interop-secret"

# What B is to its affiliates and customers: the demo's records, and an account whose callbacks go to A.
RECORDS_B = """
affiliates:
  1001:
    name: Node A
    key: demo-key-1001
    api_access: true
accounts:
  nodea:
    password_hash: "%(hash)s"
    integration: demo-local
    callback_url: %(a)s/cb/otpservice/to-otpservice/%(token)s
    secret: %(secret)s
flash_templates:
  "20":
    account: nodea
    receivers: ["1008620"]
    content: "Please send ##IOP-{code}##"
    code_digits: 6
    callback_url: %(a)s/cb/fotp/to-fotp/%(token)s
"""

# A's integrations, one a dialect, and for each an endpoint, an account, a flash template and a token.
CALLED = {
    "template": """
    send:
      url: %(b)s/e/demo1001/otp_gen
      form: {key: demo-key-1001, msisdn: "{msisdn}", userId: "{user_id}"}
      answer:
        success: {json: status, equals: "200"}
        error: {json: error}
    verify:
      url: %(b)s/e/demo1001/otp_verify
      form: {key: demo-key-1001, msisdn: "{msisdn}", otp: "{otp}"}
      answer:
        success: {json: status, equals: "200"}
        error: {json: error}
        errors: {wrong_otp: wrong_otp, otp_expired: otp_expired}
""",
    "offer18": """
    base_url: %(b)s
    key: demo-key-1001
    aid: 1001
    mid: 1
    partner: demo
""",
    "otpservice": """
    base_url: %(b)s
    username: nodea
    password: %(password)s
    callback_token: %(token)s
""",
    "fotp": """
    base_url: %(b)s
    ft_id: "20"
    account: nodea
    secret: %(secret)s
    callback_token: %(token)s
""",
}
RECORDS_A = """
affiliates:
  1001:
    name: Affiliate of A
    key: demo-key-1001
    api_access: true
    postback_url: "%(sandbox)s/customer/postback?click={click_id}&status={status}&aid={aid}"
integrations:
%(integrations)s
endpoints:
%(endpoints)s
accounts:
%(accounts)s
flash_templates:
%(templates)s
api_tokens:
%(tokens)s
"""


def records_a(a, b, password_hash):
    parts = {name: "" for name in ("integrations", "endpoints", "accounts", "templates", "tokens")}
    for dialect in DIALECTS:
        keys = dict(b=b.gateway, password=PASSWORD, token=CALLBACK_TOKEN, secret=SECRET)
        parts["integrations"] += "  to-%s:\n    dialect: %s%s" % (dialect, dialect,
                                                                 CALLED[dialect] % keys)
        parts["endpoints"] += "  ep-%s: {integration: to-%s, affiliate: 1001}\n" % (dialect, dialect)
        parts["accounts"] += (
            "  acc-%s:\n    password_hash: \"%s\"\n    integration: to-%s\n    secret: %s\n"
            "    callback_url: %s/customer/acc-%s\n" % (dialect, password_hash, dialect, SECRET,
                                                        a.sandbox, dialect))
        parts["templates"] += (
            "  ft-%s:\n    account: acc-%s\n    receivers: [\"1008611\"]\n    integration: to-%s\n"
            "    content: \"Send ##%s-{code}##\"\n    callback_url: %s/customer/push-%s\n"
            % (dialect, dialect, dialect, dialect, a.sandbox, dialect))
        parts["tokens"] += "  tok-%s: {token: interop-token-%s, integration: to-%s}\n" % (
            dialect, dialect, dialect)
    parts["templates"] += (
        "  ft-own:\n    account: acc-template\n    receivers: [\"1008611\"]\n    integration: demo-local\n"
        "    content: \"Send ##own-{code}##\"\n    callback_url: %s/customer/push-own\n" % a.sandbox)
    return RECORDS_A % dict(parts, sandbox=a.sandbox)


def apply(node, text):
    path = os.path.join(node.dir, "interop.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    node.command("apply", "-f", path)


class Pair:
    """Both nodes with their records."""

    def __init__(self):
        self.a, self.b = Node(), Node()
        for node in (self.a, self.b):
            with open(node.config, "a", encoding="utf-8") as f:
                f.write("outgoing:\n  allow: [127.0.0.1]\n")

    def __enter__(self):
        self.b.__enter__()
        try:
            self.a.__enter__()
        except BaseException:
            self.b.__exit__()
            raise
        hashed = hash_password(PASSWORD)
        apply(self.b, RECORDS_B % dict(hash=hashed, a=self.a.gateway, token=CALLBACK_TOKEN,
                                       secret=SECRET))
        apply(self.a, records_a(self.a, self.b, hashed))
        wait_for(lambda: self.a.call("/e/ep-fotp/otp_gen")[0] != 404, 5, "A knows its records")
        return self

    def __exit__(self, *_):
        try:
            self.a.__exit__()
        finally:
            self.b.__exit__()

    def otp(self, msisdn, count):
        """The code of the count-th SMS that B's sandbox delivered to this number."""
        return wait_for(lambda: len(self.b.inbox(msisdn)) >= count and self.b.inbox(msisdn)[0]["otp"], 10,
                        "an OTP arrives at %s" % msisdn)


def callbacks(node, name):
    return json.loads(http("%s/callbacks?name=%s" % (node.sandbox, name))[1])


def signed(gateway, path, account, body):
    """System 4, md5-sorted."""
    nonce = str(int(time.time() * 1000))
    fields = dict({k: str(v) for k, v in body.items()}, nonce=nonce, account=account)
    text = "".join(k + fields[k] for k in sorted(fields) if fields[k]) + SECRET
    status, answer, _ = http(gateway + path, "POST", json.dumps(body).encode(), {
        "Content-Type": "application/json", "account": account, "nonce": nonce,
        "sign": hashlib.md5(text.encode()).hexdigest()})
    assert status == 200, answer
    return json.loads(answer)


def send_link_sms(node, url, msisdn):
    """The user opens the link on an iPhone and sends what the page says, through node's SMSC."""
    status, page, _ = http(url, headers={"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 16_0)"})
    assert status == 200, page
    sms = html.unescape(re.search(r'href="(sms:[^"]+)"', page).group(1))
    receiver, text = re.fullmatch(r"sms:\+?(\d+)[&?]body=(.*)", sms).groups()
    mo(node, msisdn, receiver, urllib.parse.unquote(text))


def mo(node, msisdn, receiver, text):
    status, body, _ = http("%s/flash/opt/mo/demo-mo?%s" % (node.gateway, urllib.parse.urlencode(
        {"from": "+" + msisdn, "to": receiver, "text": text,
         "time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())})))
    assert (status, body) == (200, "")
