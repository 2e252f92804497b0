"""Only public addresses are called, whatever they are dressed as."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.addresses import is_allowed

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:a00:1::",
    "2002:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "",
    "localhost",
    "example.com",
    "256.1.1.1",
    "0177.0.0.1",
]
NAT64 = ip_network("64:ff9b::/96")
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]
PUBLIC = [
    "1.1.1.1",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_address_is_called_on_any_machine(address: str) -> None:
    assert not is_allowed(address, allow_loopback=False)
    assert not is_allowed(address, allow_loopback=True)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_called_only_where_the_hub_is_local(address: str) -> None:
    assert not is_allowed(address, allow_loopback=False)
    assert is_allowed(address, allow_loopback=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_called(address: str) -> None:
    assert is_allowed(address, allow_loopback=False)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_ipv6_dress_never_opens_an_ipv4_address(inner: IPv4Address) -> None:
    plain = is_allowed(str(inner), allow_loopback=False)
    number = int(inner)
    mapped, nat64 = (IPv6Address(prefix + number) for prefix in (0xFFFF << 32, int(ip_address("64:ff9b::"))))
    sixtofour = IPv6Address((0x2002 << 112) + (number << 80))
    assert is_allowed(str(mapped), False) is is_allowed(str(nat64), False) is plain
    assert plain or not is_allowed(str(sixtofour), False)


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_what_is_not_global_is_never_called(address: IPv6Address) -> None:
    if not address.is_global and address.ipv4_mapped is None and address not in NAT64:
        assert not is_allowed(str(address), allow_loopback=False)
