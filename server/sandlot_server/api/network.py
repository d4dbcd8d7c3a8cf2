"""The network of a sandbox, as it is on the wire: who reaches it, and what it reaches."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from sandlot_server.api.wire import Wire
from sandlot_server.border.policy import parse_policy
from sandlot_server.border.reach import Reach
from sandlot_server.errors import InvalidRequest
from sandlot_server.models import Egress, Ingress, Sandbox
from sandlot_server.settings import Settings

MASK = re.compile(r"(?:[A-Za-z0-9_.-]|\$\{PORT\})+(?::(?:\d+|\$\{PORT\}))?")


class EgressBody(Wire):
    """The fields about what a sandbox may reach."""

    allowOut: list[str] | None = None  # noqa: N815 - named by the wire
    denyOut: list[str] | None = None  # noqa: N815
    dnsServers: list[str] | None = None  # noqa: N815
    egressProxy: dict[str, Any] | None = None  # noqa: N815
    rules: dict[str, list[Any]] | None = None

    @field_validator("egressProxy", "rules")
    @classmethod
    def _refuse_what_is_not_built(cls, value: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        if value or (value is not None and info.field_name == "egressProxy"):
            raise ValueError("it is not supported in this version of Sandlot")
        return value


class Network(EgressBody):
    """`network` of a create request."""

    allowPublicTraffic: bool = True  # noqa: N815
    maskRequestHost: str | None = None  # noqa: N815
    httpsPorts: list[Annotated[int, Field(ge=1, le=65535)]] | None = None  # noqa: N815

    @field_validator("maskRequestHost")
    @classmethod
    def _check_mask(cls, value: str | None) -> str | None:
        if value is not None and not MASK.fullmatch(value):
            raise ValueError("must be host or host:port in ASCII, in which ${PORT} stands for the port")
        return value


class NetworkUpdateBody(EgressBody):
    """Body of a network update: what is left out is cleared."""

    allow_internet_access: bool | None = None


def make_ingress(network: Network | None, secure: bool) -> Ingress | None:
    """The part of the network settings that the front door carries out; raises InvalidRequest."""
    if network is None:
        return None
    if not network.allowPublicTraffic and not secure:
        raise InvalidRequest(
            "You cannot create a sandbox without public access unless you enable secure envd access via 'secure' flag."
        )
    return Ingress(network.allowPublicTraffic, network.maskRequestHost, tuple(network.httpsPorts or ()))


def make_egress(body: EgressBody | None, internet: bool | None, settings: Settings) -> Egress | None:
    """The part of the network settings that the border carries out; None when none was given. Raises InvalidRequest."""
    body = body or EgressBody()
    given = (body.allowOut, body.denyOut, body.dnsServers, internet)
    if all(one is None for one in given):
        return None
    egress = Egress(tuple(body.allowOut or ()), tuple(body.denyOut or ()), tuple(body.dnsServers or ()), internet)
    policy = parse_policy(egress)
    if policy is not None:
        _check_dns_servers(policy.dns_servers, Reach(settings.open_networks))
    return egress


def _check_dns_servers(servers: tuple[IPv4Address, ...], reach: Reach) -> None:
    for server in servers:
        if not reach.is_open(server):
            raise InvalidRequest(
                f"invalid DNS server {server}: the address is closed to sandboxes; SANDLOT_OPEN_NETWORKS can open it"
            )


def shape_network(sandbox: Sandbox) -> dict[str, Any]:
    """What there is to tell of the network in the details of a sandbox."""
    ingress, egress = sandbox.spec.ingress, sandbox.spec.egress
    network: dict[str, Any] = {}
    if ingress is not None:
        network |= {"allowPublicTraffic": ingress.allow_public_traffic, "httpsPorts": list(ingress.https_ports)}
        if ingress.mask_request_host:
            network["maskRequestHost"] = ingress.mask_request_host
    if egress is not None:
        lists = {"allowOut": egress.allow_out, "denyOut": egress.deny_out, "dnsServers": egress.dns_servers}
        network |= {name: list(value) for name, value in lists.items() if value}
    answer: dict[str, Any] = {"network": network} if network else {}
    if egress is not None and egress.internet is not None:
        answer["allowInternetAccess"] = egress.internet
    return answer
