from __future__ import annotations

import pytest

from domain.targets import Refusal, Target, parse_target


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("https://Example.COM:443/a/b?c=d#e", "example.com", 443, "/a/b?c=d"),
        ("https://hooks.example.com:8443?x=1", "hooks.example.com", 8443, "/?x=1"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/"),
        ("https://1.1.1.1/", "1.1.1.1", 443, "/"),
        ("https://[2606:4700:4700::1111]:9443/", "2606:4700:4700::1111", 9443, "/"),
        ("https://my_service.example.com/", "my_service.example.com", 443, "/"),
    ],
)
def test_a_public_https_url_is_taken_apart(url: str, host: str, port: int, path: str) -> None:
    assert parse_target(url) == Target("https", host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com@127.0.0.1/",
        "https://127.0.0.1\\@example.com/",
        "https://example.com/\r\nX-Injected: 1",
        "https://exa\tmple.com/",
        " https://example.com/",
        "https://example.com/ä",
        "https://bücher.example/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://localhost/",
        "https://metadata/",
        "https://kinema-postgres:5432/",
        "https://example.com:22/",
        "https://example.com:0/",
        "https://example.com:80/",
        "https://example.com:1023/",
        "https://example.com:65536/",
        "https://example.com:http/",
        "https://example..com/",
        "https://.example.com/",
        "https://-x.example.com/",
        "https://example.com./",
        "https://" + "a" * 64 + ".com/",
        "https://example.com/" + "a" * 2048,
        # every spelling of 127.0.0.1 that a C library, a browser or a person knows
        "https://127.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0X7F.1/",
        "https://0x7f.0.0.0x1/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[::1%25lo]/",
        "https://[fe80::1%eth0]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fd00:ec2::254]/",
        "https://0.0.0.0/",
        "https://0/",
        "https://[::]/",
    ],
)
def test_a_url_that_could_reach_inside_is_refused_with_a_sentence(url: str) -> None:
    refused = parse_target(url)
    assert isinstance(refused, Refusal)
    assert refused.reason.endswith(".")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/x", "http://[::1]:9000/", "http://127.0.0.1/", "https://127.0.0.1:9000/"]
)
def test_loopback_is_let_through_only_when_asked_for(url: str) -> None:
    assert isinstance(parse_target(url), Refusal)
    assert isinstance(parse_target(url, allow_loopback=True), Target)


@pytest.mark.parametrize(
    "url", ["http://8.8.8.8/", "http://10.0.0.1:9000/", "http://[::ffff:127.0.0.1]:9000/", "https://169.254.169.254/"]
)
def test_letting_loopback_through_opens_nothing_else(url: str) -> None:
    assert isinstance(parse_target(url, allow_loopback=True), Refusal)
