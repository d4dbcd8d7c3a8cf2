"""What a sandbox may reach and who may reach it: the options, and their form on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypedDict, cast

from .exceptions import InvalidArgumentException

ALL_TRAFFIC = "0.0.0.0/0"
"""Every address."""


class SandboxNetworkTransform(TypedDict, total=False):
    """A change to outgoing requests."""

    headers: dict[str, str]
    """Set on the request, in place of what it has."""


class _WorkloadIdentity(NamedTuple):
    tokens: Mapping[str, str]


class SandboxNetworkTransformContext(NamedTuple):
    """What a callable `transform` is given: placeholders that stand for values made per request."""

    iam: _WorkloadIdentity
    """`ctx.iam.tokens["aws"]` stands for the token registered under that name with the option `iam`."""


SandboxNetworkTransformResolver = Callable[[SandboxNetworkTransformContext], SandboxNetworkTransform]


class SandboxNetworkRule(TypedDict, total=False):
    """What happens to requests to one domain."""

    transform: SandboxNetworkTransform | SandboxNetworkTransformResolver


SandboxNetworkRules = dict[str, list[SandboxNetworkRule]]
"""Rules by domain. A rule does not allow the domain: `allow_out` does."""


class SandboxNetworkRuleInfo(TypedDict, total=False):
    """A rule as the server tells it."""

    transform: SandboxNetworkTransform


class SandboxNetworkSelectorContext(NamedTuple):
    """What a callable `allow_out` or `deny_out` is given."""

    all_traffic: str
    rules: Mapping[str, list[SandboxNetworkRule]]


SandboxNetworkSelector = list[str] | Callable[[SandboxNetworkSelectorContext], list[str]]
"""CIDR blocks, addresses and (to allow) domains; or a callable that returns them."""


class SandboxEgressProxyTLSOpts(TypedDict, total=False):
    """How the proxy's certificate is checked."""

    server_name: str
    ca_cert: str


class _ProxyAddress(TypedDict):
    address: str
    """`host:port`"""


class SandboxEgressProxyOpts(_ProxyAddress, total=False):
    """A SOCKS5 proxy for the sandbox's outgoing TCP."""

    username: str
    password: str
    tls: bool | SandboxEgressProxyTLSOpts


class SandboxEgressProxyTLSInfo(TypedDict, total=False):
    """TLS to the proxy is on."""

    server_name: str


class SandboxEgressProxyInfo(_ProxyAddress, total=False):
    """The proxy as the server tells it: without password."""

    username: str
    tls: SandboxEgressProxyTLSInfo


class SandboxNetworkOpts(TypedDict, total=False):
    """The option `network` of `create`."""

    allow_out: SandboxNetworkSelector
    """Reachable even if denied by `deny_out`."""
    deny_out: SandboxNetworkSelector
    rules: SandboxNetworkRules
    egress_proxy: SandboxEgressProxyOpts
    dns_servers: list[str]
    allow_public_traffic: bool
    """False: requests to the sandbox's ports need the traffic access token."""
    mask_request_host: str
    """Host header that services in the sandbox see; `${PORT}` is replaced."""
    https_ports: list[int]
    """Ports in the sandbox that speak HTTPS themselves."""


class SandboxNetworkUpdate(TypedDict, total=False):
    """What `update_network` sets; it replaces everything, and what is left out is cleared."""

    allow_out: SandboxNetworkSelector
    deny_out: SandboxNetworkSelector
    rules: SandboxNetworkRules
    egress_proxy: SandboxEgressProxyOpts
    dns_servers: list[str]
    allow_internet_access: bool


class SandboxNetworkInfo(TypedDict, total=False):
    """The network options as the server tells them."""

    allow_out: list[str]
    deny_out: list[str]
    rules: dict[str, list[SandboxNetworkRuleInfo]]
    egress_proxy: SandboxEgressProxyInfo
    dns_servers: list[str]
    allow_public_traffic: bool
    mask_request_host: str
    https_ports: list[int]


SandboxIamTokenType = Literal["JWT-SVID"] | str


class SandboxIamToken(TypedDict):
    """A token that the server makes for requests of the sandbox."""

    audience: str
    token_type: SandboxIamTokenType


class SandboxIamOpts(TypedDict, total=False):
    """The option `iam` of `create`: tokens by the names that `transform` callables use."""

    tokens: dict[str, SandboxIamToken]


class _Placeholders(Mapping[str, str]):
    """`${e2b.identity.tokens.<name>}` for each registered name; with None, for any name."""

    def __init__(self, names: list[str] | None) -> None:
        self._names = names

    def __getitem__(self, name: str) -> str:
        if self._names is not None and name not in self._names:
            known = ", ".join(map(repr, self._names)) or "none"
            raise InvalidArgumentException(f"no token {name!r} is registered with `iam`; registered: {known}")
        return f"${{e2b.identity.tokens.{name}}}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._names or [])

    def __len__(self) -> int:
        return len(self._names or [])


_OWN_NAMES = {
    "allow_public_traffic": "allowPublicTraffic",
    "mask_request_host": "maskRequestHost",
    "https_ports": "httpsPorts",
}
_EGRESS_NAMES = {"allow_out", "deny_out", "rules", "egress_proxy", "dns_servers"}


def build_network(network: SandboxNetworkOpts, iam: SandboxIamOpts | None) -> dict[str, Any]:
    """Return the `network` field of a create request. Raises InvalidArgumentException naming what is wrong."""
    options = _check_names(network, _EGRESS_NAMES | _OWN_NAMES.keys())
    body = _build_egress(options, list((iam or {}).get("tokens") or {}))
    body.update({wire: options[name] for name, wire in _OWN_NAMES.items() if options.get(name) is not None})
    return body


def build_network_update(network: SandboxNetworkUpdate) -> dict[str, Any]:
    """Return the body of a network update."""
    options = _check_names(network, _EGRESS_NAMES | {"allow_internet_access"})
    body = _build_egress(options, None)
    if options.get("allow_internet_access") is not None:
        body["allow_internet_access"] = options["allow_internet_access"]
    return body


def _check_names(options: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    if unknown := sorted(options.keys() - known):
        raise InvalidArgumentException(f"network: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return dict(options)


def _build_egress(network: dict[str, Any], tokens: list[str] | None) -> dict[str, Any]:
    rules = network.get("rules") or {}
    context = SandboxNetworkTransformContext(_WorkloadIdentity(_Placeholders(tokens)))
    body = {
        "allowOut": _select(network.get("allow_out"), rules),
        "denyOut": _select(network.get("deny_out"), rules),
        "dnsServers": network.get("dns_servers"),
        "egressProxy": _build_proxy(network.get("egress_proxy")),
        "rules": None if network.get("rules") is None else _build_rules(rules, context),
    }
    return {name: value for name, value in body.items() if value is not None}


def _select(selector: SandboxNetworkSelector | None, rules: Mapping[str, Any]) -> list[str] | None:
    if selector is None:
        return None
    return list(selector(SandboxNetworkSelectorContext(ALL_TRAFFIC, rules)) if callable(selector) else selector)


def _build_rules(rules: SandboxNetworkRules, context: SandboxNetworkTransformContext) -> dict[str, Any]:
    return {host: [_build_rule(host, rule, context) for rule in each] for host, each in rules.items()}


def _build_rule(host: str, rule: SandboxNetworkRule, context: SandboxNetworkTransformContext) -> dict[str, Any]:
    transform = rule.get("transform")
    if transform is None:
        return {}
    resolved: object = transform(context) if callable(transform) else transform
    if not isinstance(resolved, Mapping):
        raise InvalidArgumentException(f"network rule for {host!r}: transform must give a dict, not {resolved!r}")
    headers = resolved.get("headers")
    return {"transform": {"headers": dict(headers)} if headers else {}}


def _build_proxy(proxy: Any) -> dict[str, Any] | None:
    if proxy is None:
        return None
    if not isinstance(proxy, Mapping) or not isinstance(proxy.get("address"), str):
        raise InvalidArgumentException("network egress_proxy must be a dict with an 'address' like 'host:1080'")
    body = {name: proxy[name] for name in ("address", "username", "password") if proxy.get(name) is not None}
    tls = proxy.get("tls")
    if isinstance(tls, Mapping):
        named = {"serverName": tls.get("server_name"), "caCert": tls.get("ca_cert")}
        body["tls"] = {"enabled": True, **{name: value for name, value in named.items() if value is not None}}
    elif tls:
        body["tls"] = {"enabled": True}
    return body


def build_iam(iam: SandboxIamOpts | None) -> dict[str, Any] | None:
    """Return the `iam` field of a create request, None without tokens."""
    tokens = (iam or {}).get("tokens")
    if not tokens:
        return None
    for name, token in tokens.items():
        fields: list[object] = [token.get("audience"), token.get("token_type")] if isinstance(token, dict) else []
        if not fields or not all(isinstance(field, str) for field in fields):
            raise InvalidArgumentException(f"iam token {name!r} must have strings 'audience' and 'token_type'")
    wire = {name: {"audience": token["audience"], "tokenType": token["token_type"]} for name, token in tokens.items()}
    return {"tokens": wire}


def parse_network(wire: dict[str, Any] | None) -> SandboxNetworkInfo | None:
    """Return the network options of an API answer."""
    if wire is None:
        return None
    names = {"allowOut": "allow_out", "denyOut": "deny_out", "dnsServers": "dns_servers", "rules": "rules"}
    names |= {wire_name: name for name, wire_name in _OWN_NAMES.items()}
    info: dict[str, Any] = {name: wire[each] for each, name in names.items() if wire.get(each) is not None}
    if proxy := wire.get("egressProxy"):
        info["egress_proxy"] = {name: proxy[name] for name in ("address", "username") if name in proxy}
        tls = proxy.get("tls") or {}
        if tls.get("enabled"):
            info["egress_proxy"]["tls"] = {"server_name": tls["serverName"]} if "serverName" in tls else {}
    return cast("SandboxNetworkInfo", info)
