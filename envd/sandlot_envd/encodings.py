"""Content codings: which one a client wants (RFC 9110 §12.5.3), and which one its body has."""

from __future__ import annotations

from sandlot_envd.errors import AgentError, BadRequest


class NotAcceptable(AgentError):
    """The client takes no coding that the agent has."""

    status = 406


def wants_gzip(accepted: str | None, *, only_identity: bool = False) -> bool:
    """Whether to compress an answer for a client that sent `accepted` as its Accept-Encoding.

    Only for those that prefer gzip to the plain file, by its weight or by naming nothing else. Clients that merely
    list what they know, as both SDKs do, get the file as it is: packing takes far longer than a local connection
    saves. `only_identity` says that this answer cannot be compressed. Raises NotAcceptable.
    """
    weights = _parse_weights(accepted or "")
    gzip = weights.get("gzip", weights.get("*", 0.0))
    identity = weights.get("identity", weights.get("*", 1.0))
    if only_identity:
        if identity <= 0:
            raise NotAcceptable("a part of a file, or one that may not have changed, is not offered compressed")
        return False
    if gzip <= 0 and identity <= 0:
        raise NotAcceptable("no acceptable encoding: gzip and identity are offered")
    return gzip > 0 and (identity < gzip or set(weights) == {"gzip"})


def _parse_weights(header: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        if coding:
            weights[coding] = next((_parse_weight(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
    return weights


def _parse_weight(text: str) -> float:
    """Return the weight; one that cannot be read counts as none given, as on E2B."""
    try:
        weight = float(text)
    except ValueError:
        return 1.0
    return weight if 0 <= weight <= 1 else 1.0


def is_gzip(header: str | None) -> bool:
    """Whether a body with this Content-Encoding is compressed; raises BadRequest for codings other than gzip."""
    coding = (header or "identity").partition(";")[0].strip().lower()
    if coding == "gzip":
        return True
    if coding not in ("identity", ""):
        raise BadRequest(f"unsupported Content-Encoding '{coding}': gzip and identity are supported")
    return False
