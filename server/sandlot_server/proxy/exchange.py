"""One request and its response: where it goes, and what passes between the two connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Final

from sandlot_protocol.http import ENVD_PORT
from sandlot_server.proxy import admission, pages
from sandlot_server.proxy.dialing import PortClosed, is_agent_port
from sandlot_server.proxy.directory import Endpoint
from sandlot_server.proxy.framing import Chunked, Framing, FramingError, Length
from sandlot_server.proxy.heads import HeadError, name_sandbox, replace_host
from sandlot_server.proxy.plan import Plan
from sandlot_server.proxy.reply import Reply
from sandlot_server.proxy.routing import Target, is_reserved

if TYPE_CHECKING:
    from sandlot_server.proxy.client import ClientConnection
    from sandlot_server.proxy.traffic import Traffic
    from sandlot_server.proxy.upstream import Lane, Upstream

_log = logging.getLogger(__name__)
_MAX_DRAINED: Final = 1 << 20


class Exchange:
    """Carries one request to its upstream and the response back; its owner is the client's connection."""

    __slots__ = (
        "_body", "_client", "_door", "_drain_left", "_endpoint", "_lane", "_may_upgrade", "_plan", "_task",
        "_traffic", "_upstream", "is_answered", "is_request_done", "reply", "request", "target",
    )  # fmt: skip

    def __init__(self, client: ClientConnection, plan: Plan) -> None:
        self._client = client
        self._door = client.door
        self._plan = plan
        self.request = request = plan.request
        self.target = plan.target
        fields = request.fields
        self._body: Framing | None = None
        if fields.chunked:
            self._body = Chunked()
        elif fields.content_length:
            self._body = Length(fields.content_length)
        self.is_request_done = self._body is None
        self._may_upgrade = fields.upgrade is not None
        self.reply = Reply(request, request_done=self.is_request_done, may_upgrade=self._may_upgrade)
        self._endpoint: Endpoint | None = None
        self._traffic: Traffic | None = None
        self._lane: Lane | None = None
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self.is_answered = False
        """Whether the door gave the answer, and only the rest of the request is still to come."""
        self._drain_left = 0

    # -- finding the upstream

    def start(self) -> None:
        """Send the request on its way, or answer it."""
        target = self.target
        if not target.sandbox_id:
            self._start_without_sandbox()
        elif self._plan.is_reserved:
            self.refuse(admission.refuse_reserved(self.request))
        else:
            endpoint = self._door.directory.find(target.sandbox_id)
            if endpoint is None:
                self._spawn(self._wake())
            else:
                self._enter(endpoint)

    def _start_without_sandbox(self) -> None:
        if not admission.is_bare_file_url(self.target, self.request):
            self._use(self._door.api)
            return
        found = admission.find_by_file_url(self._door.directory, self.request)
        if isinstance(found, Endpoint):
            self.target = Target(found.sandbox_id, ENVD_PORT)
            self._enter(found)
        else:
            self.refuse(found)

    async def _wake(self) -> None:
        found = await admission.wake(self._door.directory, self.target, self.request)
        self._task = None
        if isinstance(found, Endpoint):
            self._enter(found)
        else:
            self.refuse(found)

    def _enter(self, endpoint: Endpoint) -> None:
        """Check what the sandbox asks of a request, and go to its port."""
        refusal = self._check(endpoint)
        if refusal is not None:
            self.refuse(refusal)
            return
        traffic = self._door.traffic_of(endpoint.sandbox_id)
        self._endpoint, self._traffic = endpoint, traffic
        traffic.active.add(self)
        self._use(traffic.lane(endpoint, self.target.port))

    def _check(self, endpoint: Endpoint) -> pages.Answer | None:
        port, limit = self.target.port, self._door.limits.connections_per_sandbox
        if is_agent_port(endpoint, port):
            self._may_upgrade = False  # the only upgrade it knows is the control plane's
            if port != ENVD_PORT and is_reserved(self.request.target):
                return admission.refuse_reserved(self.request)
        elif endpoint.traffic_token is not None:
            refusal = admission.check_token(endpoint, self.request)
            if refusal is not None:
                return refusal
        if len(self._door.traffic_of(endpoint.sandbox_id).active) >= limit:
            return pages.too_many_connections(endpoint.sandbox_id, limit)
        return None

    # -- connecting

    def _use(self, lane: Lane) -> None:
        self._lane = lane
        upstream = None if self._may_upgrade else lane.take(is_repeatable=self._plan.is_repeatable)
        if upstream is None:
            self._spawn(self._connect(lane))
        else:
            self._attach(upstream)

    async def _connect(self, lane: Lane) -> None:
        try:
            upstream = await lane.connect()
        except (PortClosed, OSError):
            self._task = None
            self.refuse(self._unreachable())
            return
        self._task = None
        self._attach(upstream)

    def _unreachable(self) -> pages.Answer:
        sandbox_id, port = self.target.sandbox_id, self.target.port
        if not sandbox_id:
            return pages.api_unreachable()
        if self._door.directory.find(sandbox_id) is None:
            return pages.sandbox_not_found(sandbox_id)
        return pages.port_closed(sandbox_id, port)

    def _attach(self, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.receiver = self
        if self._client.is_write_paused:
            upstream.transport.pause_reading()
        try:
            body = b"" if self._body is None else self._client.take(self._count_body)
        except FramingError as error:
            self._refuse_body(error)
            return
        upstream.transport.write(self._request_head() + body)

    def _request_head(self) -> bytes:
        head, endpoint = self._plan.head, self._endpoint
        if self._may_upgrade and self.request.fields.upgrade is not None:
            head += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.request.fields.upgrade
        if endpoint is None:
            head += self._client.forwarded
        elif is_agent_port(endpoint, self.target.port):
            sandbox_id = endpoint.sandbox_id.encode()
            if self.request.fields.sandbox_id != sandbox_id:
                head = name_sandbox(head, sandbox_id)
        elif endpoint.mask_request_host is not None:
            mask = endpoint.mask_request_host.replace("${PORT}", str(self.target.port))
            head = replace_host(head, mask.encode("latin-1"))
        return head + b"\r\n"

    # -- the request's body

    @property
    def takes_body(self) -> bool:
        """Whether bytes of the client can be passed on now."""
        return (self._upstream is not None or self.is_answered) and not self.is_request_done

    def send_body(self, data: bytes) -> int:
        """Pass on the request's body; return how many bytes of `data` belong to it."""
        upstream = self._upstream
        if upstream is None:
            return self._drain(data)
        try:
            used = self._count_body(data)
        except FramingError as error:
            self._refuse_body(error)
            return len(data)
        upstream.transport.write(data if used == len(data) else data[:used])
        if self.is_request_done and self.reply.done:
            self._complete()
        return used

    def _count_body(self, data: bytes) -> int:
        body = self._body
        assert body is not None
        used = body.feed(data)
        self._door.stats.bytes_in += used
        if body.done:
            self.is_request_done = self.reply.request_done = True
        return used

    def _refuse_body(self, error: FramingError) -> None:
        if self.reply.began:
            self.abort()
        else:
            self.refuse(pages.refused(400, str(error)))

    def hold_request(self, hold: bool) -> None:
        """The upstream takes the request more slowly than it comes."""
        self._client.hold_reading(hold)

    # -- the response

    def receive_response(self, data: bytes) -> None:
        """Pass on the response."""
        reply = self.reply
        try:
            out = reply.receive(data)
        except (HeadError, FramingError) as error:
            self._refuse_response(error)
            return
        if out:
            self._door.stats.bytes_out += len(out)
            self._client.transport.write(out)
        if reply.done:
            self._end_response()

    def hold_response(self, hold: bool) -> None:
        """The client takes the response more slowly than it comes."""
        if self._upstream is not None:
            if hold:
                self._upstream.transport.pause_reading()
            else:
                self._upstream.transport.resume_reading()

    def _end_response(self) -> None:
        if self.reply.rest is not None:
            self._switch(self.reply.rest)
        elif self.is_request_done or self.reply.closes_upstream:
            self._complete()

    def _refuse_response(self, error: Exception) -> None:
        if self.reply.began:
            self.abort()
            return
        sandbox_id, port = self.target.sandbox_id, self.target.port
        if sandbox_id:
            self.refuse(pages.bad_upstream(sandbox_id, port, str(error)))
        else:
            self.refuse(pages.refused(502, f"The API did not answer in valid HTTP: {error}"))

    def lose_upstream(self, error: Exception | None) -> None:
        """The upstream is gone: in the middle of a response this cuts the client off as well."""
        upstream, self._upstream = self._upstream, None
        reply = self.reply
        if reply.done:
            self._complete()
        elif reply.began:
            end = None if error is not None else reply.end_with_connection()
            if end is None:
                self.abort()
            else:
                self._client.transport.write(end)
                self._complete()
        elif upstream is not None and self._may_repeat(upstream) and self._lane is not None:
            self._spawn(self._connect(self._lane))
        else:
            self.refuse(self._unreachable())

    def _may_repeat(self, upstream: Upstream) -> bool:
        """Whether the connection can have died of old age, and asking again on a new one changes nothing."""
        return upstream.was_used and self._plan.is_repeatable and self.reply.is_silent

    # -- the end

    def _complete(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if self.reply.closes_upstream or not self.is_request_done or self._lane is None:
                upstream.discard()
            else:
                if self._client.is_write_paused:
                    upstream.transport.resume_reading()
                self._lane.give(upstream)
        self._leave()
        self._client.end_exchange(self, keep=self.is_request_done and not self.reply.closes_client)

    def _switch(self, rest: bytes) -> None:
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        upstream.receiver = None
        traffic = self._traffic
        self._leave()
        splice = self._door.splice(self._client.transport, upstream.transport, traffic)
        self._client.hand_over(splice, rest, upstream_is_full=upstream.is_write_paused)

    def refuse(self, answer: pages.Answer) -> None:
        """Answer in the upstream's place. A short rest of the request is awaited, so that the connection lives on."""
        request = self.request
        self._read_rest_of_body()
        keep = not self.reply.closes_client and (self.is_request_done or self._is_rest_short())
        if self.target.sandbox_id and pages.is_preflight(request.method, request.block):
            data = pages.render_preflight(request.block, close=not keep)
        else:
            data = pages.render(answer, request.block, close=not keep, head_only=request.method == b"HEAD")
        self.reply.status = answer.status
        self._door.stats.refused += 1
        self._drop_upstream()
        self._leave()
        self._client.transport.write(data)
        if keep and not self.is_request_done:
            self.is_answered, self._drain_left = True, _MAX_DRAINED
        else:
            self._client.end_exchange(self, keep=keep)

    def _is_rest_short(self) -> bool:
        """Whether it is known that the client sends the rest of its request, and that this is no file."""
        fields = self.request.fields
        return not fields.expects and (fields.chunked or (fields.content_length or 0) <= _MAX_DRAINED)

    def _drain(self, data: bytes) -> int:
        """Discard the rest of a request that has its answer."""
        try:
            used = self._count_body(data)
        except FramingError:
            used, self._drain_left = len(data), -1
        self._drain_left -= used
        if self.is_request_done or self._drain_left < 0:
            self._client.end_exchange(self, keep=self.is_request_done)
        return used

    def _read_rest_of_body(self) -> None:
        if not self.is_request_done:
            try:
                self._client.take(self._count_body)
            except FramingError:
                self.reply.closes_client = True

    def cut(self) -> None:
        """The sandbox has ended: say so where nothing was answered yet, else cut the client off."""
        if self.reply.began:
            self.abort()
        else:
            self.refuse(pages.sandbox_not_found(self.target.sandbox_id))

    def abort(self) -> None:
        """End the exchange so that the client cannot take it for complete."""
        self.abandon()
        self._client.abort()

    def abandon(self) -> None:
        """The client is gone: let the upstream know."""
        self._drop_upstream()
        self._leave()

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.discard()

    def _leave(self) -> None:
        if self._traffic is not None:
            self._traffic.active.discard(self)
            self._traffic = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._task = self._door.spawn(self._guard(work))

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception:
            _log.exception("a request could not be passed on")
            self._task = None
            self.refuse(pages.refused(500, "The front door failed; its log has the details"))
