"""Who may ask: this machine, whoever has the token, and no page of another site."""

import pytest
from command_line import run
from made_server import files_of, served

from fewshot_cxr.serve.settings import Settings, is_local

TOKEN = "a-long-enough-random-token"


@pytest.fixture(scope="module")
def locked(place, tmp_path_factory):
    file = tmp_path_factory.mktemp("locked") / "clinic.bank"
    place.bank.save(file, self_contained=True)
    with served(file, token=TOKEN) as running:
        yield running


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "clinic.example"])
def test_others_take_a_token(host, tmp_path):
    with pytest.raises(ValueError, match="is reached from other machines, which takes a token"):
        Settings(bank=tmp_path / "a.bank", host=host)
    assert not Settings(bank=tmp_path / "a.bank", host=host, token=TOKEN).is_local


def test_local_names():
    assert all(map(is_local, ("127.0.0.1", "127.0.0.9", "::1", "[::1]", "localhost", "LOCALHOST")))
    assert not any(map(is_local, ("localhost.evil.com", "127.0.0.1.nip.io", "10.0.0.1", "", "0.0.0.0")))


def test_the_command_says_how(bank_file, capsys, monkeypatch, tmp_path):
    assert run("serve", bank_file, "--host", "0.0.0.0") == 2
    assert "write a long random text into a file" in capsys.readouterr().err
    monkeypatch.setenv("FSCXR_TOKEN", "short")
    assert run("serve", bank_file, "--host", "0.0.0.0") == 2
    assert "the token has 5 letters and needs 16" in capsys.readouterr().err
    monkeypatch.delenv("FSCXR_TOKEN")
    (tmp_path / "token.txt").write_text("short\n")
    assert run("serve", bank_file, "--token-file", tmp_path / "token.txt") == 2
    assert "the token has 5 letters" in capsys.readouterr().err


def test_without_a_token_nothing_is_told(place, locked):
    for answered in (locked.get("/bank"), locked.get("/"), locked.get("/metrics"), locked.get("/openapi.json")):
        assert answered.status == 401
        assert answered.detail == "a token is needed: send it as Authorization: Bearer TOKEN"
    assert locked.post("/predict", files_of(place.known, 1)).status == 401
    assert locked.delete("/findings/normal").status == 401
    assert locked.get("/health").status == 200
    page = locked.get("/", Accept="text/html")
    assert page.status == 401
    assert 'href="/sign-in"' in page.body.decode()


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer \u00e9"])
def test_wrong_tokens(locked, given):
    assert locked.get("/bank", Authorization=given.encode().decode("latin-1")).status == 401


def test_a_program_sends_the_token(place, locked):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert locked.get("/bank", **bearer).status == 200
    assert locked.post("/predict", files_of(place.known, 1), headers=bearer).status == 200


def test_a_browser_signs_in(locked):
    assert locked.post("/sign-in", texts={"token": "wrong"}).status == 401
    signed = locked.post("/sign-in", texts={"token": TOKEN})
    assert signed.status == 303
    cookie = signed.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert locked.get("/", Cookie=cookie.partition(";")[0]).status == 200
    assert locked.get("/", Cookie="fscxr_session=guess").status == 401
    assert locked.get("/", Cookie="a b=;;c").status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_may_do_nothing(place, server, headers):
    for answered in (
        server.post("/predict", files_of(place.known, 1), headers=headers),
        server.post("/add", files_of(place.new, 1), texts={"finding": "new"}, headers=headers),
        server.delete("/findings/normal", **headers),
    ):
        assert (answered.status, answered.detail) == (403, "a page of another site may not ask or change anything here")


def test_our_own_page_may(place, server):
    headers = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert server.post("/predict", files_of(place.known, 1), headers=headers).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "[::2]"])
def test_a_name_that_was_made_to_lead_here(server, host):
    assert server.get("/bank", Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1", "[::1]:8000"])
def test_our_own_names(server, host):
    assert server.get("/bank", Host=host).status == 200


def test_a_page_loads_nothing_from_elsewhere(server):
    for path in ("/", "/log", "/api", "/sign-in", "/page.css", "/page.js", "/nowhere"):
        headers = server.get(path, Accept="text/html").headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "token.txt holds no token"),
        (b" \n", "token.txt holds no token"),
        ("schl\u00fcssel-sehr-geheim-1".encode(), "the token is no line of ASCII"),
        (b"two-lines-of-a\nlong-token", "the token is no line of ASCII"),
        (b"\xff" * 20, "the token is no line of ASCII"),
    ],
)
def test_a_file_without_a_token_serves_nothing(bank_file, tmp_path, capsys, content, message):
    (tmp_path / "token.txt").write_bytes(content)
    assert run("serve", bank_file, "--token-file", tmp_path / "token.txt") == 2
    assert message in capsys.readouterr().err


def test_headers_that_are_no_address(server):
    assert server.get("/bank", Host="[").status == 400
    assert server.post("/undo", [], headers={"Origin": "http://["}).status == 400


def test_no_client_makes_a_series_of_metrics(server):
    assert server.ask("AAA", "/").status == 405
    assert b'method="other"' in server.get("/metrics").body
    assert b"AAA" not in server.get("/metrics").body
