"""The line reaches public addresses, and one's own networks only where they are named."""

import ipaddress

import pytest

from tidegate.notices import RefusedAddressError, allowing

LOCAL = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/hook",  # not encrypted
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://10.2.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00:ec2::254]/latest",
        "https://[::ffff:127.0.0.1]/hook",
        "https://[64:ff9b::7f00:1]/hook",
        "https://0.0.0.0/hook",
        "https://2130706433/hook",  # 127.0.0.1 as one number, in hexadecimal and octal digits, and short
        "https://0x7f.0.0.1/hook",
        "https://0177.0.0.1/hook",
        "https://127.1/hook",
        "https://[::127.0.0.1]/hook",  # IPv4 inside IPv6, of five kinds
        "https://[::ffff:0:127.0.0.1]/hook",
        "https://[2002:7f00:1::]/hook",
        "https://[64:ff9b:1::7f00:1]/hook",
        "https://[2001:0:7f00:1::]/hook",
        "https://[fec0::1]/hook",
        "https://[fe80::1%25lo]/hook",
        "https://100.100.100.200/latest/meta-data",
        "https://93.184.215.14\\@127.0.0.1/hook",
        "https://localhost/hook",
        "https://user:secret@93.184.215.14/hook",
        "ftp://93.184.215.14/hook",
        "https:///hook",
        "https://93.184.215.14/a b",
    ],
)
def test_what_is_not_public_is_refused(url):
    with pytest.raises(RefusedAddressError):
        allowing([]).check(url)


def test_public_addresses_are_reached():
    assert allowing([]).check("https://93.184.215.14:8443/hook?x=1") == ("93.184.215.14", 8443, "/hook?x=1", ["93.184.215.14"])


def test_a_network_of_ones_own_is_reached_where_it_is_named_and_no_other():
    line = allowing([ipaddress.ip_network("10.2.0.0/16")])
    assert line.check("https://10.2.3.4/")[3] == ["10.2.3.4"]
    for url in ("https://10.3.0.1/", "http://10.2.3.4/", "https://127.0.0.1/"):
        with pytest.raises(RefusedAddressError):
            line.check(url)


def test_plain_http_goes_to_this_machine_alone_and_only_if_it_is_named():
    assert allowing(LOCAL).check("http://127.0.0.1:8000/")[1] == 8000
    with pytest.raises(RefusedAddressError, match="must be https"):
        allowing(LOCAL).check("http://93.184.215.14/")
