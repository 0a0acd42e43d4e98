"""What a URL of a server says of a login: no part of it is taken for another part of the URL, and none is shown."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab.base import BadInput
from lab.engines import memcached, redis
from lab.engines.dsn import Dsn
from lab.engines.mariadb_url import MariadbUrl
from lab.engines.urls import ServerUrl
from lab.ports import Missing
from lab.servers import server
from lab.servers.nats import SERVER as NATS
from lab.servers.rabbit import SERVER as RABBIT

MARK = "hunter2"
# What has a meaning of its own in a URL, and what hasn't.
AROUND = st.text("/#?@:%[]\\&=+,; 1aé", max_size=4)
Read = Callable[[str, str], object]
# A login stands in the place of the star.
URLS: list[tuple[str, Read]] = [
    ("redis://*@127.0.0.1:6379/0", redis.url),
    ("unix://*@/run/redis.sock", redis.url),
    ("redis:*@127.0.0.1", redis.url),
    ("nats://*@127.0.0.1:4222", NATS.parsed),
    ("amqp://*@127.0.0.1:5672/v", RABBIT.parsed),
    ("memcached://*@127.0.0.1:11211", memcached.url),
    ("mariadb://*@127.0.0.1:3306/", MariadbUrl),
    ("postgresql://*@127.0.0.1:5432/mine", Dsn),
    ("postgres://*@/mine?host=/run/pg", Dsn),
]


def told(read: Read, text: str) -> str:
    """What may be printed of a URL, or of the refusal of it."""
    try:
        found = read(text, "HERE")
    except BadInput as error:
        # What `--debug` prints as well.
        return "".join(traceback.format_exception(error))
    return f"{found} {found!r} {found.without_secrets(text) if isinstance(found, ServerUrl) else ''}"


@pytest.mark.parametrize(("url", "read"), URLS, ids=[url for url, _ in URLS])
@given(before=AROUND, after=AROUND)
@example(before="12/34", after="")
@example(before="1234#", after="")
@example(before="12?", after="=")
@example(before="", after="?user=")
@example(before="p@", after="")
@example(before="@", after="?user=")
@example(before="99/", after="@")
def test_no_part_of_a_password_is_shown_however_it_is_written(url: str, read: Read, before: str, after: str) -> None:
    assert MARK not in told(read, url.replace("*", f"someone:{before}{MARK}{after}"))


@given(before=AROUND.filter(lambda text: ":" not in text), after=AROUND.filter(lambda text: ":" not in text))
@example(before="abc/def+", after="==")
@example(before="abc#", after="")
def test_no_part_of_a_token_is_shown_however_it_is_written(before: str, after: str) -> None:
    for colon in ("", ":"):
        assert MARK not in told(NATS.parsed, f"nats://{before}{MARK}{after}{colon}@127.0.0.1:4222")


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("LAB_NATS", f"nats://abc/def+{MARK}==@127.0.0.1:4222"),
        ("LAB_REDIS", f"redis://:12/34{MARK}@127.0.0.1:6379/0"),
        ("LAB_REDIS", f"redis://user:1234#{MARK}@127.0.0.1"),
        ("LAB_RABBITMQ", f"amqp://user:99/{MARK}@127.0.0.1"),
        ("LAB_MARIADB", f"mariadb://user:99?{MARK}@127.0.0.1"),
        ("LAB_POSTGRES", f"postgresql://u:12/34{MARK}@127.0.0.1/db"),
        ("LAB_POSTGRES", f"postgresql://u:p@{MARK}@127.0.0.1/db"),
    ],
)
def test_a_login_that_could_be_read_in_two_ways_is_refused_with_the_way_to_write_it(
    variable: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    found = server(variable.removeprefix("LAB_").lower()).find()
    assert isinstance(found, Missing)
    assert found.reason.startswith(f"{variable}: ")
    assert "write `/` as %2F" in found.reason
    assert MARK not in f"{found}"


def test_what_is_written_as_it_must_be_is_taken() -> None:
    url = redis.url(f"redis://me:%2F%23%3F%40{MARK}@127.0.0.1:6379/0", "HERE")
    assert (url.user, url.password, str(url)) == ("me", f"/#?@{MARK}", "redis://me@127.0.0.1:6379/0")
    assert str(redis.url("unix:///run/redis.sock", "HERE")) == "unix:///run/redis.sock"
    assert str(Dsn("postgresql://u:%2F%40@127.0.0.1/mine?sslrootcert=/a%40b")) == "postgresql://u@127.0.0.1/mine"
    # Words say by themselves what they are.
    assert str(Dsn(f"host=127.0.0.1 dbname=mine user=u password='a://b/@{MARK}@c'")) == "postgresql://u@127.0.0.1/mine"


def test_the_password_of_a_key_is_hidden_and_is_no_password_of_a_login() -> None:
    url = MariadbUrl(f"mariadb://me@127.0.0.1:3306/?ssl_cert=c&ssl_key=k&ssl_key_password={MARK}-%2F", "HERE")
    assert url.password == ""
    assert "password" not in url.words
    assert MARK not in f"{url} {url.without_secrets(f'{MARK}-/ {MARK}-%2F')}"
    known = ServerUrl(f"redis://127.0.0.1?ssl_password={MARK}-key&password={MARK}", "HERE", ("redis",), "")
    assert known.password == MARK
    assert MARK not in known.without_secrets(f"{MARK}-key {MARK}")


@pytest.mark.parametrize(
    ("parameters", "verified", "named"),
    [
        ("ssl_verify_identity=true", ssl.CERT_REQUIRED, True),
        ("ssl_verify_identity=on", ssl.CERT_REQUIRED, True),
        ("ssl_verify_identity=YES&ssl_verify_cert=0", ssl.CERT_REQUIRED, True),
        ("ssl_verify_cert=1", ssl.CERT_REQUIRED, False),
        ("ssl_ca={ca}&ssl_verify_cert=on", ssl.CERT_REQUIRED, False),
        ("ssl_ca={ca}", ssl.CERT_REQUIRED, False),
        ("ssl_ca={ca}&ssl_verify_identity=true", ssl.CERT_REQUIRED, True),
        ("ssl_ca={ca}&ssl_verify_cert=off", ssl.CERT_NONE, False),
    ],
)
def test_what_a_url_of_mariadb_asks_to_be_verified_is(parameters: str, verified: int, named: bool) -> None:
    ca = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    made = MariadbUrl(f"mariadb://db.example:3306/?{parameters.format(ca=ca)}").tls()
    assert made is not None
    assert (made.verify_mode, made.check_hostname) == (verified, named)


def test_a_url_of_mariadb_without_a_word_of_tls_or_with_no_alone_asks_for_none() -> None:
    for parameters in ("", "?unix_socket=/run/x.sock", "?ssl_verify_cert=no", "?ssl_verify_identity=false"):
        assert MariadbUrl(f"mariadb://127.0.0.1:3306/{parameters}").tls() is None


@pytest.mark.parametrize("name", ["ssl_verify_cert", "ssl_verify_identity"])
@pytest.mark.parametrize("value", ["", "enabled", "ture", "2", "required"])
def test_a_flag_of_mariadb_that_is_neither_true_nor_false_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"its parameter `{name}` is neither true nor false"):
        MariadbUrl(f"mariadb://127.0.0.1:3306/?ssl_ca=x&{name}={value}")


def test_a_file_of_mariadb_that_cant_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for file, name in (("/nowhere/ca.pem", "/nowhere/ca.pem"), ("%00", "")):
        monkeypatch.setenv("LAB_MARIADB", f"mariadb://127.0.0.1:1/?ssl_ca={file}")
        found = server("mariadb").find()
        assert isinstance(found, Missing)
        assert f"the file of `ssl_ca`, {name}" in found.reason
