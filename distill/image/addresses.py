"""Gets a picture's bytes from a web address, on whose word nothing inside the own network is asked."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import distill
from distill.errors import PictureError

MAX_MIB = 64
MAX_REDIRECTS = 5
TIMEOUT_S = 30.0  # for all of it
_REDIRECTS = (301, 302, 303, 307, 308)
_OTHER_WAY = "Download the picture yourself and upload it."


def fetch(url: str, *, forbid_local: bool = True, max_mib: int = MAX_MIB, user_agent: str = "") -> bytes:
    """What an http(s) address answers. Raises PictureError.

    With `forbid_local`, an address that leads to this computer or its own network is refused, at each redirect anew.
    """
    import httpx

    deadline_s = time.monotonic() + TIMEOUT_S
    agent = user_agent or f"sd-webui-distill/{distill.__version__}"
    try:
        address = httpx.URL(url.strip())
        for _ in range(MAX_REDIRECTS + 1):
            with _asked(address, forbid_local, agent) as response:
                if response.status_code not in _REDIRECTS:
                    return _body(response, address, max_mib, deadline_s)
                address = address.join(response.headers.get("location", ""))
    except httpx.TimeoutException:
        raise _too_slow(url) from None
    except (httpx.InvalidURL, httpx.HTTPError, UnicodeError, ValueError) as error:
        raise PictureError(f"{url[:200]} can't be read: {error}.", _OTHER_WAY) from None
    raise PictureError(f"{url[:200]} leads from one address to the next without end.", _OTHER_WAY)


@contextmanager
def _asked(address: Any, forbid_local: bool, agent: str) -> Iterator[Any]:
    """The answer to one request, its body not read yet."""
    import httpx

    if address.scheme not in ("http", "https") or not address.host:
        raise PictureError(f"{str(address)[:200]!r} is not a web address.", "Give one that begins with https://.")
    headers = {"user-agent": agent, "accept": "image/*,*/*;q=0.5", "accept-encoding": "identity"}
    proxied = _is_proxied(address)
    target: Any = address
    verify: ssl.SSLContext | bool = True
    if forbid_local:
        number = _global_number(address)
        if not proxied:
            # Ask the very number that was checked: a name may give another one the next time.
            headers["host"] = address.netloc.decode("ascii").rsplit("@", 1)[-1]
            target, verify = address.copy_with(host=number), _context(address)
    with httpx.Client(timeout=min(10, TIMEOUT_S), trust_env=proxied, verify=verify) as client:
        request = client.build_request("GET", target, headers=headers)
        response = client.send(request, stream=True)
        try:
            yield response
        finally:
            response.close()


class _NamedContext(ssl.SSLContext):
    """Asks for the certificate of a name, although the connection goes to a number."""

    # httpx has `sni_hostname` for this, but not with the httpcore 0.15 that the WebUIs pin.
    name = ""

    def wrap_socket(self, sock: Any, *rest: Any, **more: Any) -> ssl.SSLSocket:
        return super().wrap_socket(sock, *rest, **(more | {"server_hostname": self.name}))


def _context(address: Any) -> ssl.SSLContext | bool:
    if address.scheme != "https":
        return True
    import certifi

    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificate and name
    context.load_verify_locations(certifi.where())
    context.name = address.raw_host.decode("ascii")
    return context


def _is_proxied(address: Any) -> bool:
    proxies = urllib.request.getproxies()
    return (address.scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(address.host)


def _global_number(address: Any) -> str:
    """One IP number of the host; raises PictureError unless all of them are out in the internet."""
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(address.host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise PictureError(f"There is no server {address.host}.", "Check the address.") from None
    numbers = [str(entry[4][0]) for entry in found]
    if not numbers or not all(_is_global(number) for number in numbers):
        raise PictureError(f"{address.host} is in your own network, and such addresses are not asked.", _OTHER_WAY)
    return numbers[0]


def _is_global(number: str) -> bool:
    ip = ipaddress.ip_address(number.split("%")[0])
    # An IPv4 number can be written inside an IPv6 one, which leads to it all the same.
    inner = (getattr(ip, "ipv4_mapped", None), getattr(ip, "sixtofour", None), _behind_nat64(ip))
    every = (ip, *(other for other in inner if other is not None))
    return all(one.is_global and not one.is_multicast for one in every)


def _behind_nat64(ip: Any) -> Any:
    is_one = ip.version == 6 and ip in ipaddress.ip_network("64:ff9b::/96")
    return ipaddress.ip_address(int(ip) & 0xFFFFFFFF) if is_one else None


def _body(response: Any, address: Any, max_mib: int, deadline_s: float) -> bytes:
    if response.status_code != 200:
        raise PictureError(f"{address.host} answered with {response.status_code}.", "Check the address.")
    data = bytearray()
    for part in response.iter_bytes(2**16):
        data += part
        if len(data) > max_mib * 2**20:
            raise PictureError(f"What {address.host} sends is larger than {max_mib} MiB.", "Give a smaller picture.")
        if time.monotonic() > deadline_s:
            raise _too_slow(str(address))
    return bytes(data)


def _too_slow(url: str) -> PictureError:
    return PictureError(f"{url[:200]} did not answer within {TIMEOUT_S:.0f} s.", _OTHER_WAY)
