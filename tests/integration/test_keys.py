"""otpq keys: pairs made, shown and revoked, against a real Redis."""
import json
import os
import stat

import pytest
import redis
import zmq

from test_records import Store


@pytest.fixture
def store():
    s = Store()
    yield s
    s.close()


def read_pair(path):
    with open(path, encoding="utf-8") as f:
        lines = dict(line.rstrip("\n").split(": ", 1) for line in f if not line.startswith("#"))
    return lines["public_key"].strip('"'), lines["secret_key"].strip('"')


def test_a_pair_is_made_and_its_secret_half_stays_in_the_file(store):
    path = os.path.join(store.dir, "shop.key")
    code, out, err = store.run("keys", "new", "shop", "--kind", "client", "--tenants", "shop,acme:",
                               "--routes", "demo", "--out", path)
    assert code == 0, err
    public, secret = read_pair(path)
    assert out == public + "\n" and secret not in err
    assert zmq.curve_public(secret.encode()) == public.encode()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    exported = store.export()
    assert secret not in exported
    code, out, err = store.run("keys", "list", "--json")
    row = json.loads(out)
    made = row.pop("made")
    assert made.endswith("Z") and len(made) == 20
    assert row == {"name": "shop", "kind": "client", "public_key": public, "tenants": ["shop", "acme:"],
                   "routes": ["demo"], "revoked": False}
    # the file that export prints is one that apply takes, and says the same
    code, out, err = store.run("apply", text=exported)
    assert code == 0 and "0 added, 0 changed" in out, err


def test_nothing_is_overwritten(store):
    path = os.path.join(store.dir, "w.key")
    assert store.run("keys", "new", "w", "--kind", "worker", "--out", path)[0] == 0
    before = read_pair(path)
    code, out, err = store.run("keys", "new", "v", "--kind", "worker", "--out", path)
    assert code == 1 and "is not overwritten" in err and out == ""
    assert read_pair(path) == before
    other = os.path.join(store.dir, "other.key")
    code, out, err = store.run("keys", "new", "w", "--kind", "worker", "--out", other)
    assert code == 1 and "there is a key of the name w" in err and not os.path.exists(other)
    code, out, err = store.run("keys", "new", "x", "--kind", "worker", "--out", "/nowhere/x.key", "--json")
    assert code == 1 and "No such file" in json.loads(out)["error"]
    assert [json.loads(line)["name"] for line in store.run("keys", "list", "--json")[1].splitlines()] == ["w"]


def test_a_revoked_key_is_kept_and_says_when(store):
    path = os.path.join(store.dir, "g.key")
    assert store.run("keys", "new", "g", "--kind", "gateway", "--out", path)[0] == 0
    code, out, err = store.run("keys", "revoke", "g")
    assert code == 2 and "--yes" in err
    assert not json.loads(store.run("keys", "list", "--json")[1])["revoked"]
    code, out, err = store.run("keys", "revoke", "g", "--yes")
    assert code == 0 and out == "g is revoked\n", err
    row = json.loads(store.run("keys", "list", "--json")[1])
    assert row["revoked"] and row["revoked_at"].endswith("Z")
    code, out, err = store.run("keys", "revoke", "g", "--yes", "--json")
    assert code == 0 and json.loads(out) == {"name": "g", "revoked": True, "before": True}
    assert json.loads(store.run("keys", "list", "--json")[1])["revoked_at"] == row["revoked_at"]
    assert "REVOKED" in store.run("keys", "list")[1]
    code, out, err = store.run("keys", "revoke", "h", "--yes")
    assert code == 1 and "there is no key of the name h" in err


@pytest.mark.parametrize("argv, why", [
    (("new", "a"), "--kind client, worker"),
    (("new", "a", "--kind", "boss"), "kind must be one of"),
    (("new", "a b", "--kind", "worker"), "the name of a key"),
    (("new", "a", "--kind", "client"), "says its --tenants and --routes"),
    (("new", "a", "--kind", "client", "--tenants", "x]", "--routes", "all"), "names with commas"),
    (("new", "a", "--kind", "worker", "--routes", "x"), "are for kind client and gateway"),
    (("new",), "the name of one key"),
    (("list", "a"), "list takes no name"),
    (("revoke", "a", "--kind", "worker"), "are of new"),
    (("drop", "a"), "new, list or revoke?"),
    ((), "new, list or revoke?"),
])
def test_mistakes_are_told(store, argv, why):
    code, out, err = store.run("keys", *argv)
    assert code == 2 and why in err and out == "", err


def test_a_client_of_everybody_says_so(store):
    path = os.path.join(store.dir, "a.key")
    code, out, err = store.run("keys", "new", "a", "--kind", "client", "--tenants", "all", "--routes", "all",
                               "--out", path, "--json")
    assert code == 0, err
    assert json.loads(out)["file"] == path
    assert "tenants all  routes all" in store.run("keys", "list")[1]


def test_a_revocation_that_brokers_cannot_read_is_told(store):
    """One record that nobody can read keeps them from all others."""
    assert store.run("keys", "new", "w", "--kind", "worker", "--out", os.path.join(store.dir, "w.key"))[0] == 0
    r = redis.Redis(unix_socket_path=store.socket)
    r.hset("otpq:{rec}:integrations", "later", "send: {url: \"http://127.0.0.1:1/\"}\nof_a_later_version: 1\n")
    r.incr("otpq:{rec}:version")
    code, out, err = store.run("keys", "revoke", "w", "--yes")
    assert code == 1 and out == "" and "w is revoked, but brokers refuse the records" in err and "later" in err, err
    r.hdel("otpq:{rec}:integrations", "later")
    r.incr("otpq:{rec}:version")
    code, out, _ = store.run("keys", "revoke", "w", "--yes")
    assert (code, out) == (0, "w was revoked before\n")


def test_an_older_file_does_not_undo_a_revocation(store):
    assert store.run("keys", "new", "w", "--kind", "worker", "--out", os.path.join(store.dir, "w.key"))[0] == 0
    older = store.export()
    assert store.run("keys", "revoke", "w", "--yes")[0] == 0
    code, out, err = store.run("apply", text=older)
    assert code == 2 and "keys/w is revoked" in err, (out, err)
    assert json.loads(store.run("keys", "list", "--json")[1])["revoked"]
    code, _, err = store.run("apply", text=older.rstrip("\n") + "\n    revoked: true\n")
    assert code == 0, err
    assert json.loads(store.run("keys", "list", "--json")[1])["revoked"]
