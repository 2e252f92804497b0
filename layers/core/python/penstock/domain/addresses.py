"""Which network addresses a destination may have: public ones, after name resolution, whatever the notation."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")


def is_allowed(text: str, allow_loopback: bool) -> bool:
    """Whether an address that a name resolved to may be called.

    An IPv6 address that stands for an IPv4 one is judged by that. `allow_loopback` lets loopback pass, nothing else.
    """
    try:
        address = _meant(ip_address(text.partition("%")[0]))
    except ValueError:
        return False
    return _is_public(address) or (allow_loopback and address.is_loopback)


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Where a packet would end: the IPv4 address of a mapped or a NAT64 one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return True
    if address.is_site_local or address.teredo is not None:
        return False
    return address.sixtofour is None or _is_public(address.sixtofour)
