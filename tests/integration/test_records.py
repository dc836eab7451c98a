"""otpq apply and otpq export against a real Redis: declarative, idempotent, all or nothing."""
import json
import os
import pty
import select
import shutil
import subprocess
import tempfile

import pytest

from node import BUILD, ROOT, wait_for

DEMO = os.path.join(ROOT, "deploy", "demo.yaml")


class Store:
    """A Redis of its own and the otpq command beside it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="otpq-records-")
        self.socket = os.path.join(self.dir, "redis.sock")
        self.redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", self.dir],
            stdout=subprocess.DEVNULL)
        self.env = dict(os.environ, OTPQ_DIR=self.dir)
        wait_for(lambda: os.path.exists(self.socket), 5, "Redis listens")

    def close(self):
        self.redis.terminate()
        self.redis.wait()
        shutil.rmtree(self.dir)

    def start(self, *argv, text=None):
        """The command, running."""
        path = None
        if text is not None:
            handle, path = tempfile.mkstemp(dir=self.dir, suffix=".yaml")
            with os.fdopen(handle, "w") as f:
                f.write(text)
            argv = argv + ("-f", path)
        return subprocess.Popen([os.path.join(BUILD, "bin", "otpq"), *argv], env=self.env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *argv, text=None):
        """(exit code, stdout, stderr)"""
        process = self.start(*argv, text=text)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def hash_of(self, password):
        """As `otpq hash-password` prints it."""
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "hash-password"], input=password + "\n",
                              stdout=subprocess.PIPE, text=True, timeout=30, check=True)
        return done.stdout.strip()

    def export(self):
        code, out, err = self.run("export")
        assert code == 0, err
        return out


@pytest.fixture
def store():
    s = Store()
    yield s
    s.close()


@pytest.fixture
def demo():
    with open(DEMO, encoding="utf-8") as f:
        return f.read()


def test_export_gives_the_applied_file_back(store, demo):
    assert store.export() == ""
    code, out, err = store.run("apply", "-f", DEMO)
    assert (code, err) == (0, "")
    assert "10 added, 0 changed, 0 removed" in out
    assert store.export() == demo
    code, out, _ = store.run("apply", "-f", DEMO)
    assert (code, out) == (0, "0 added, 0 changed, 0 removed, 10 unchanged, 0 kept\n")


def test_every_key_of_every_kind_comes_back(store):
    """test_record.c sees to it that the file has them all."""
    full = os.path.join(ROOT, "tests", "golden", "records", "full.yaml")
    with open(full, encoding="utf-8") as f:
        text = f.read()
    assert store.run("apply", "-f", full)[0] == 0
    assert store.export() == text
    code, out, _ = store.run("apply", text=store.export())
    assert code == 0 and out.startswith("0 added, 0 changed, 0 removed, ")
    code, out, _ = store.run("export", "--json")
    sections = json.loads(out)
    assert code == 0 and sections["mo_sources"]["m"] == 'token: "123456"\n'


def test_a_change_is_shown_and_keys_are_not(store, demo):
    store.run("apply", "-f", DEMO)
    changed = demo.replace("demo-key-1001", "other-key-1001").replace("timeout_ms: 10000", "timeout_ms: 9", 1)
    code, out, _ = store.run("apply", "--dry-run", text=changed)
    assert code == 0 and out.startswith("~ affiliates/1001\n    - key: ***\n    + key: ***\n")
    assert "      send:\n    -   timeout_ms: 10000\n    +   timeout_ms: 9\n" in out
    assert "key-1001" not in out
    assert store.export() == demo
    code, out, _ = store.run("apply", text=changed)
    assert code == 0 and store.export() == changed


def test_what_the_file_does_not_have(store, demo):
    store.run("apply", "-f", DEMO)
    part = demo[demo.index("affiliates:"):demo.index("  1002:")]
    code, out, _ = store.run("apply", text=part)
    assert code == 0 and ". affiliates/1002   kept: not in the file\n" in out
    assert store.export() == demo
    code, out, _ = store.run("apply", "--prune", "--json", text=part)
    told = json.loads(out)
    assert code == 0 and told["removed"] == ["affiliates/1002"] and "integrations/demo" in told["kept"]
    begin, end = demo.index("  1002:"), demo.index("integrations:")
    assert store.export() == demo[:begin] + demo[end:]


def test_mistakes_change_nothing(store, demo):
    store.run("apply", "-f", DEMO)
    for text, expected in (
            (demo.replace("  demo:\n", "  demo:\n    pausd: true\n"), 'did you mean "paused"?'),
            ("integrations: {}\n", "demo1001: there is no integration demo"),
            ("endpoints:\n  e2: {integration: demo, affiliate: 1002}\n", ":2:3: endpoint e2: affiliate 1002 has no API access"),
            ("endpoints:\n  e2: {integration: deno, affiliate: 1001}\n", "no integration deno; did you mean demo?")):
        code, out, err = store.run("apply", "--prune", text=text)
        assert code == 2 and out == "" and expected in err, (text, err)
        assert store.export() == demo


def test_doubts_are_said_and_no_mistakes(store, demo):
    secrets = os.path.join(store.dir, "secrets.yaml")
    with open(secrets, "w", encoding="utf-8") as f:
        f.write("known: x\n")
    os.chmod(secrets, 0o600)
    store.env["OTPQ_SECRETS_FILE"] = secrets
    assert store.run("apply", "-f", DEMO)[0] == 0
    text = demo[demo.index("affiliates:"):demo.index("  1002:")].replace("    api_access: true\n", "")
    text += """integrations:
  other:
    send:
      url: http://a.example/{msisdn}?k={secret.known}
      headers: {X-Key: "{secret.missing|base64}", X-Other: "{{secret.literal}}"}
    verify:
      url: http://a.example/{msisdn}/{otp}
"""
    code, out, err = store.run("apply", "--dry-run", text=text)
    assert code == 0, err
    assert err.splitlines() == [
        'otpq apply: warning: integration other: the secrets file has no "missing", so its calls will fail',
        "otpq apply: warning: endpoint demo1001: affiliate 1001 has api_access: false, so nobody may use it"]
    code, out, err = store.run("apply", "--dry-run", "--json", text=text)
    assert (code, err) == (0, "") and len(json.loads(out)["warnings"]) == 2


def test_doubts_about_customers(store):
    """Records that are right by themselves and of no use as they stand."""
    text = """affiliates:
  7:
    key: abcdefgh
    postback_url: https://a.example/?k={secret.missing}
integrations:
  network:
    dialect: offer18
    base_url: http://a.example
    key: abcdefgh
    aid: 1
    mid: 1
    partner: x
    callback_token: 0123456789abcdef
accounts:
  nobody: {}
  open: {sign: none}
  lost: {password_hash: "%s"}
  texter: {secret: x, integration: network, text: "{otp}"}
flash_templates:
  t: {account: nobody, receivers: ["123"], content: "a-{code}"}
api_tokens:
  bearer: {token: 0123456789, integration: network}
"""
    secrets = os.path.join(store.dir, "secrets.yaml")
    with open(secrets, "w", encoding="utf-8") as f:
        f.write("known: x\n")
    os.chmod(secrets, 0o600)
    store.env["OTPQ_SECRETS_FILE"] = secrets
    code, out, err = store.run("apply", "--json", text=text % store.hash_of("word"))
    assert (code, err) == (0, ""), err
    assert json.loads(out)["warnings"] == [
        'affiliate 7: the secrets file has no "missing", so its postbacks will fail',
        "integration network: its dialect knows no callbacks, so callback_token opens nothing",
        "account lost: it has a password_hash and no integration, so its sends have nowhere to go",
        "account nobody: it has neither a password_hash nor a secret, so nobody gets in with it",
        "account open: sign: none lets in whoever calls from this machine, also through a proxy that hides it",
        "account texter: the advertiser of integration network makes the code, so none can be put into its text",
        "flash template t: its account nobody has no secret, so nobody can ask for a link",
        "flash template t: there is no MO source, so no SMS can come in",
        "API token bearer: the advertiser of integration network makes the code, so none can be put into the caller's message"]


def test_secrets_of_customers_are_not_shown(store):
    """Each of them changes, and no value of any is in what apply says."""
    full = os.path.join(ROOT, "tests", "golden", "records", "full.yaml")
    with open(full, encoding="utf-8") as f:
        text = f.read()
    assert store.run("apply", text=text)[0] == 0
    changed = text
    for old, new in (("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLyJr", "new-callback-secret"),
                     ("a_callback.token:of-full", "new-callback-token"), ("$6$saltsalt$", "$6$newsalt$"),
                     ("another-secret", "new-another-secret"), ("#secret", "#new-secret"),
                     ("00000000", "new-bearer"), ('"123456"', "new-source")):
        assert old in changed, old
        changed = changed.replace(old, new)
    code, out, err = store.run("apply", text=changed)
    assert code == 0, err
    assert out.count("+ ") == 7 and "0 added, 5 changed" in out, out
    for word in ("new", "whsec", "saltsalt", "another", "00000000", "of-full"):
        assert word not in out, (word, out)


def test_what_is_told_apart_by_a_token(store):
    """The store's records count: a file may not take a token that another has."""
    assert store.run("apply", text="mo_sources:\n  a: {token: one-token}\n")[0] == 0
    code, out, err = store.run("apply", text="mo_sources:\n  b: {token: one-token}\n")
    assert code == 2 and out == "" and ":2:3: MO source b: its token is that of MO source a, too" in err
    assert "one-token" not in err
    code, out, err = store.run("apply", "--prune", text="mo_sources:\n  b: {token: one-token}\n")
    assert code == 0, err


def test_a_password_becomes_a_hash(store):
    one, two = store.hash_of("s3cret word"), store.hash_of("s3cret word")
    assert one.startswith("$6$") and one != two
    code, _, err = store.run("apply", text="accounts:\n  a: {secret: x, password_hash: %s}\n" % one)
    assert code == 0, err
    code, _, err = store.run(
        "apply", text="accounts:\n  a: {password_hash: %s}\n" % one.replace("$6$", "$6$rounds=999999999$"))
    assert code == 2 and "a check of it would take too long" in err


def asked_on_a_terminal(*answers):
    """(exit code, what the terminal showed, standard output) of `otpq hash-password`."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([os.path.join(BUILD, "bin", "otpq"), "hash-password"], stdin=theirs, stderr=theirs,
                               stdout=subprocess.PIPE, text=True)
    os.close(theirs)
    shown = ""
    for prompt, answer in zip(("Password: ", "Again: "), answers):
        while not shown.endswith(prompt):
            assert select.select([ours], [], [], 20)[0], shown
            shown += os.read(ours, 1000).decode()
        os.write(ours, answer.encode() + b"\n")
    out = process.communicate(timeout=20)[0]
    while select.select([ours], [], [], 0)[0]:
        try:
            shown += os.read(ours, 1000).decode()
        except OSError:  # the other end is closed
            break
    os.close(ours)
    return process.returncode, shown, out


def test_a_password_is_typed_blindly():
    code, shown, out = asked_on_a_terminal("s3cret word", "s3cret word")
    assert code == 0 and out.startswith("$6$") and "s3cret" not in shown, shown
    code, shown, out = asked_on_a_terminal("s3cret word", "s3cret wrod")
    assert code == 2 and out == "" and "the two are not the same" in shown and "s3cret" not in shown, shown
    code, shown, out = asked_on_a_terminal("", "")
    assert code == 2 and out == "" and "the password is empty" in shown


def test_applies_at_the_same_time_never_mix(store, demo):
    """Every affiliate's name and the page title are of the same file, whoever came last."""
    files = [demo.replace("Demo", "Demo%d" % i) for i in range(8)]
    running = [store.start("apply", text=text) for text in files]
    codes = [(p.communicate(timeout=30), p.returncode)[1] for p in running]
    assert set(codes) <= {0, 1} and 0 in codes, codes
    final = store.export()
    assert final in [text for text, code in zip(files, codes) if code == 0]


def test_no_redis_is_said(store):
    store.env["OTPQ_REDIS_ADDRESS"] = "unix:%s/nowhere.sock" % store.dir
    code, out, err = store.run("export")
    assert code == 1 and out == "" and "nowhere.sock" in err
    for argv in (("export",), ("apply", "-f", DEMO), ("trace", "r7fabcdefghijklmnopqrst")):
        code, out, err = store.run(*argv, "--json")
        assert code == 1 and err == "" and "nowhere.sock" in json.loads(out)["error"], argv
    password = os.path.join(store.dir, "password")
    with open(password, "w") as f:
        f.write("x\n")
    os.chmod(password, 0o644)
    store.env["OTPQ_REDIS_PASSWORD_FILE"] = password
    code, out, err = store.run("export")
    assert code == 2 and "chmod 600" in err
