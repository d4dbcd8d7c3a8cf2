"""Commands through a real agent: what a client of E2B sees of them."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest

from support.agent import Agent, Finished, RpcFailed, basic, start_request

USER = basic("user")


async def test_output_and_exit_code_of_a_command(agent: Agent) -> None:
    done = await agent.run("/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    assert done.end == {"exitCode": 3, "exited": True, "status": "exit status 3", "error": "exit status 3"}


async def test_success_has_no_error(agent: Agent) -> None:
    done = await agent.run("true")
    assert done.end == {"exitCode": 0, "exited": True, "status": "exit status 0"}


async def test_a_killed_process_says_so_in_go_words(agent: Agent) -> None:
    done = await agent.run("/bin/sh", "-c", "kill -9 $$")
    assert done.end == {"exitCode": -1, "exited": False, "status": "signal: killed", "error": "signal: killed"}
    done = await agent.run("/bin/sh", "-c", "kill -SEGV $$")
    assert done.end["status"].startswith("signal: segmentation fault")


async def test_the_process_is_the_users_altogether(agent: Agent) -> None:
    done = await agent.run(
        "grep", "-E", "^(Uid|Gid|Groups|CapPrm|CapEff|SigBlk|SigIgn)", "/proc/self/status", headers=USER
    )
    lines = dict(line.split(":\t") for line in done.stdout.decode().splitlines())
    assert lines["Uid"].split() == ["1000"] * 4
    assert lines["Gid"].split() == ["1000"] * 4
    assert lines["Groups"].split() == ["10", "1000"]
    assert int(lines["CapPrm"], 16) == int(lines["CapEff"], 16) == 0
    # Of the signals that have names: what lies above them is the C library's own.
    assert int(lines["SigBlk"], 16) & 0x7FFFFFFF == int(lines["SigIgn"], 16) & 0x7FFFFFFF == 0


async def test_the_process_has_nothing_of_the_agents(agent: Agent) -> None:
    done = await agent.run("/bin/sh", "-c", "umask; cat /proc/self/oom_score_adj; ls /proc/self/fd; env")
    umask, score, *rest = done.stdout.decode().splitlines()
    assert (umask, score) == ("0022", "100")
    assert [line for line in rest if line.isdigit()] == ["0", "1", "2", "3"]  # 3 is the listed folder itself
    assert not [line for line in rest if "SANDLOT" in line]
    assert Path(f"/proc/{agent.pid}/oom_score_adj").read_text() != "100\n"


async def test_environment_layers(own_agent: Agent) -> None:
    image = {"PATH": "/usr/bin:/bin", "HOME": "/image", "LAYER": "image", "IMAGE": "1"}
    user = {"LAYER": "user", "USERS": "1", "E2B_SANDBOX_ID": "forged"}
    await own_agent.init(imageEnv=image, envVars=user, sandboxID="abc", templateID="tpl")
    done = await own_agent.run("env", envs={"LAYER": "call"}, headers=USER)
    env = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert env == {
        "PATH": "/usr/bin:/bin", "HOME": str(own_agent.home), "USER": "user", "LOGNAME": "user", "LAYER": "call",
        "IMAGE": "1", "USERS": "1", "E2B_SANDBOX": "true", "E2B_SANDBOX_ID": "abc", "E2B_TEMPLATE_ID": "tpl",
    }  # fmt: skip
    done = await own_agent.run("/bin/sh", "-c", "echo $E2B_SANDBOX_ID", envs={"E2B_SANDBOX_ID": "call"})
    assert done.stdout == b"call\n"


@pytest.mark.parametrize("cwd", ["", "~", "~/sub/..", "sub/.."])
async def test_cwd_starts_at_home(agent: Agent, cwd: str) -> None:
    (agent.home / "sub").mkdir(exist_ok=True)
    done = await agent.run("pwd", cwd=cwd, headers=USER)
    assert Path(done.stdout.decode().strip()).resolve() == agent.home


async def test_wrong_cwds(agent: Agent) -> None:
    with pytest.raises(RpcFailed, match="cwd '/no/such' does not exist") as failed:
        await agent.run("pwd", cwd="/no/such")
    assert failed.value.code == "invalid_argument"
    for cwd, message in (("/etc/passwd", "Not a directory"), ("~other", "cannot expand")):
        with pytest.raises(RpcFailed, match=message) as failed:
            await agent.run("pwd", cwd=cwd)
        assert failed.value.code == "invalid_argument"
    (agent.home / "closed").mkdir(mode=0o700, exist_ok=True)
    with pytest.raises(RpcFailed, match="cannot be entered: Permission denied"):
        await agent.run("pwd", cwd=str(agent.home / "closed"), headers=USER)


async def test_a_missing_program_ends_like_in_a_shell(agent: Agent) -> None:
    done = await agent.run("no-such-program")
    assert done.end["exitCode"] == 127
    assert b"no-such-program" in done.stderr
    done = await agent.run("/etc/passwd")
    assert done.end["exitCode"] == 126


async def test_programs_are_found_on_the_calls_path(agent: Agent, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "mine").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "mine").chmod(0o755)
    done = await agent.run("mine", envs={"PATH": f"/nowhere:{tmp_path}"})
    assert done.stdout == b"found\n"


async def test_users_that_do_not_exist(agent: Agent) -> None:
    with pytest.raises(RpcFailed, match="invalid username: 'nobody-here'") as failed:
        await agent.run("true", headers=basic("nobody-here"))
    assert failed.value.code == "unauthenticated"
    with pytest.raises(RpcFailed, match="invalid username") as failed:
        await agent.call("process.Process/List", headers=basic("nobody-here"))
    assert failed.value.status == 401


async def test_the_default_user_may_be_missing(own_agent: Agent) -> None:
    await own_agent.init(defaultUser="ghost")
    with pytest.raises(RpcFailed, match="invalid default user: 'ghost'"):
        await own_agent.run("true")
    assert (await own_agent.run("id", "-un", headers=USER)).stdout == b"user\n"


async def test_signals(agent: Agent) -> None:
    for signal, status in (("SIGNAL_SIGTERM", "signal: terminated"), (9, "signal: killed")):
        async with agent.stream("process.Process/Start", start_request("sleep", "60")) as events:
            pid = (await anext(events))["event"]["start"]["pid"]
            await agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": signal})
            assert (await anext(events))["event"]["end"]["status"] == status
    with pytest.raises(RpcFailed, match=f"process with pid {pid} not found") as failed:
        await agent.kill(pid)
    assert failed.value.code == "not_found"
    done = await agent.run("/bin/sh", "-c", f"kill -0 {pid}")
    assert done.end["exitCode"] != 0


async def test_other_signals_are_unimplemented(agent: Agent) -> None:
    async with agent.stream("process.Process/Start", start_request("sleep", "60")) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        for signal in ("SIGNAL_UNSPECIFIED", 2, "nonsense", [], None):
            with pytest.raises(RpcFailed) as failed:
                await agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": signal})
            assert failed.value.code == "unimplemented"
        await agent.kill(pid)


async def test_a_signal_reaches_the_process_alone_and_ends_the_stream(agent: Agent) -> None:
    script = "sleep 61 & echo $!; wait"
    async with agent.stream("process.Process/Start", start_request("/bin/sh", "-c", script)) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        child = base64.b64decode((await anext(events))["event"]["data"]["stdout"]).decode().strip()
        await agent.kill(pid)
        assert "end" in (await anext(events))["event"]
    done = await agent.run("/bin/sh", "-c", f"kill -0 {child} && kill -9 {child}")
    assert done.end["exitCode"] == 0


async def test_the_stream_lasts_as_long_as_somebody_holds_the_output(agent: Agent) -> None:
    done = await asyncio.wait_for(agent.run("/bin/sh", "-c", "(sleep 0.7; echo late) & echo early"), 20)
    assert done.stdout == b"early\nlate\n"


async def test_the_deadline_kills(agent: Agent) -> None:
    async with agent.stream(
        "process.Process/Start", start_request("sleep", "60"), {"Connect-Timeout-Ms": "400"}
    ) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        with pytest.raises(RpcFailed) as failed:
            await asyncio.wait_for(anext(events), 20)
    assert failed.value.code == "deadline_exceeded"
    assert await has_ended(agent, pid)


async def test_the_deadline_kills_although_the_client_is_gone(agent: Agent) -> None:
    async with agent.stream(
        "process.Process/Start", start_request("sleep", "60"), {"Connect-Timeout-Ms": "700"}
    ) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
    assert pid in await list_pids(agent)
    assert await has_ended(agent, pid)


async def has_ended(agent: Agent, pid: int) -> bool:
    async with asyncio.timeout(20):
        while pid in await list_pids(agent):
            await asyncio.sleep(0.05)
    return True


async def list_pids(agent: Agent) -> list[int]:
    return [one["pid"] for one in (await agent.call("process.Process/List")).get("processes", [])]


async def test_disconnecting_does_not_kill(agent: Agent) -> None:
    marker = agent.home / "survived"
    script = f"i=0; while [ $i -lt 200 ]; do echo line; i=$((i+1)); done; sleep 0.3; touch {marker}"
    async with agent.stream("process.Process/Start", start_request("/bin/sh", "-c", script)) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
    assert await has_ended(agent, pid)
    assert marker.exists()


async def test_a_deadline_of_connect_ends_the_stream_and_not_the_process(agent: Agent) -> None:
    async with agent.stream("process.Process/Start", start_request("sleep", "60")) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        with pytest.raises(RpcFailed) as failed:
            await agent.collect("process.Process/Connect", {"process": {"pid": pid}}, {"Connect-Timeout-Ms": "300"})
        assert failed.value.code == "deadline_exceeded"
        assert pid in await list_pids(agent)
        await agent.kill(pid)


async def test_connect_sees_what_comes_after_it(agent: Agent) -> None:
    async with agent.stream("process.Process/Start", start_request("cat", stdin=True)) as first:
        pid = (await anext(first))["event"]["start"]["pid"]
        await agent.send_stdin(pid, b"one")
        await anext(first)
        async with agent.stream("process.Process/Connect", {"process": {"pid": pid}}) as second:
            assert await anext(second) == {"event": {"start": {"pid": pid}}}
            await agent.send_stdin(pid, b"two")
            assert await anext(first) == await anext(second)
            await agent.call("process.Process/CloseStdin", {"process": {"pid": pid}})
            assert (await anext(first)) == (await anext(second)) == {"event": {"end": EXIT_0}}


EXIT_0 = {"exitCode": 0, "exited": True, "status": "exit status 0"}


async def test_an_exit_can_be_asked_for_a_while(agent: Agent) -> None:
    done = await agent.run("/bin/sh", "-c", "exit 7", tag="seven")
    for selector in ({"pid": done.pid}, {"pid": str(done.pid)}, {"tag": "seven"}):
        events = await agent.collect("process.Process/Connect", {"process": selector})
        assert [list(one["event"]) for one in events] == [["start"], ["end"]]
        assert events[1]["event"]["end"]["exitCode"] == 7
    # A new process of that tag is the only one of that tag.
    async with agent.stream("process.Process/Start", start_request("sleep", "60", tag="seven")) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        await agent.kill(pid)
    await has_ended(agent, pid)
    events = await agent.collect("process.Process/Connect", {"process": {"tag": "seven"}})
    assert events[0]["event"]["start"]["pid"] == pid


async def test_tags_select_among_several(agent: Agent) -> None:
    async with (
        agent.stream("process.Process/Start", start_request("sleep", "60")) as untagged,
        agent.stream("process.Process/Start", start_request("sleep", "60", tag="a")) as first,
        agent.stream("process.Process/Start", start_request("sleep", "60", tag="b")) as second,
    ):
        pids = [(await anext(events))["event"]["start"]["pid"] for events in (untagged, first, second)]
        listed = {one["pid"]: one.get("tag") for one in (await agent.call("process.Process/List"))["processes"]}
        assert [listed[pid] for pid in pids] == [None, "a", "b"]
        await agent.call("process.Process/SendSignal", {"process": {"tag": "b"}, "signal": "SIGNAL_SIGKILL"})
        assert "end" in (await anext(second))["event"]
        for pid in pids[:2]:
            await agent.kill(pid)


async def test_unknown_processes(agent: Agent) -> None:
    for selector, code in (({"pid": 4_000_000}, "not_found"), ({"tag": "?"}, "not_found"), ({}, "unimplemented")):
        with pytest.raises(RpcFailed) as failed:
            await agent.call("process.Process/SendSignal", {"process": selector, "signal": "SIGNAL_SIGKILL"})
        assert failed.value.code == code
        with pytest.raises(RpcFailed) as failed:
            await agent.collect("process.Process/Connect", {"process": selector})
        assert failed.value.code == code


async def test_list_shows_the_config_as_requested(agent: Agent) -> None:
    request = start_request("/bin/sleep", "60", envs={"A": "b"}, cwd="/")
    async with agent.stream("process.Process/Start", request) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        listed = [one for one in (await agent.call("process.Process/List"))["processes"] if one["pid"] == pid]
        config = {"cmd": "/bin/sleep", "args": ["60"], "envs": {"A": "b"}, "cwd": "/"}
        assert listed == [{"config": config, "pid": pid}]
        await agent.kill(pid)


async def test_keepalives_come_in_silence(agent: Agent) -> None:
    async with agent.stream(
        "process.Process/Start", start_request("sleep", "60"), {"Keepalive-Ping-Interval": "1"}
    ) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        assert await asyncio.wait_for(anext(events), 10) == {"event": {"keepalive": {}}}
        assert await asyncio.wait_for(anext(events), 10) == {"event": {"keepalive": {}}}
        await agent.kill(pid)


async def test_much_output_arrives_whole_in_chunks_of_bounded_size(agent: Agent) -> None:
    request = start_request("/bin/sh", "-c", "seq 1 600000")
    data, largest = b"", 0
    async with agent.stream("process.Process/Start", request) as events:
        async for one in events:
            if text := one["event"].get("data", {}).get("stdout"):
                chunk = base64.b64decode(text)
                largest = max(largest, len(chunk))
                data += chunk
    assert data == b"".join(b"%d\n" % n for n in range(1, 600_001))
    assert largest <= 32 * 1024


async def test_a_stalled_reader_slows_the_process_but_loses_nothing(agent: Agent) -> None:
    request = start_request("/bin/sh", "-c", "head -c 20000000 /dev/zero")
    async with agent.stream("process.Process/Start", request) as events:
        await anext(events)
        await asyncio.sleep(0.5)
        size = 0
        async for one in events:
            size += len(base64.b64decode(one["event"].get("data", {}).get("stdout", "")))
    assert size == 20_000_000


async def test_a_thousand_short_processes_leave_nothing(own_agent: Agent) -> None:
    await own_agent.run("true")
    before = len(os.listdir(f"/proc/{own_agent.pid}/fd"))

    async def run_some() -> list[Finished]:
        return [await own_agent.run("true") for _ in range(100)]

    results = await asyncio.gather(*(run_some() for _ in range(10)))
    assert all(done.end == EXIT_0 for some in results for done in some)
    async with asyncio.timeout(10):
        while len(os.listdir(f"/proc/{own_agent.pid}/fd")) > before:
            await asyncio.sleep(0.05)
    assert Path(f"/proc/{own_agent.pid}/task/{own_agent.pid}/children").read_text() == ""


async def test_a_hundred_commands_at_once(agent: Agent) -> None:
    script = "read -r line; echo $line; echo $line >&2"

    async def converse(n: int) -> None:
        async with agent.stream("process.Process/Start", start_request("/bin/sh", "-c", script, stdin=True)) as events:
            pid = (await anext(events))["event"]["start"]["pid"]
            await agent.send_stdin(pid, b"%d\n" % n)
            done = Finished.read([{"start": {"pid": pid}}, *[one["event"] async for one in events]])
            assert done.stdout == done.stderr == b"%d\n" % n

    await asyncio.gather(*(converse(n) for n in range(100)))


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"process": "x"},
        {"process": {}},
        {"process": {"cmd": 5}},
        {"process": {"cmd": "true", "args": "x"}},
        {"process": {"cmd": "true", "args": [1]}},
        {"process": {"cmd": "tr\0ue"}},
        {"process": {"cmd": "true", "envs": ["A"]}},
        {"process": {"cmd": "true", "envs": {"A=B": "c"}}},
        {"process": {"cmd": "true", "envs": {"A": 1}}},
        {"process": {"cmd": "true", "cwd": 1}},
        {"process": {"cmd": "true", "args": ["\ud800"]}},
        {"process": {"cmd": "true"}, "stdin": "yes"},
        {"process": {"cmd": "true"}, "tag": 5},
        {"process": {"cmd": "true"}, "pty": 5},
        {"process": {"cmd": "true"}, "pty": {"size": {"rows": -1, "cols": 1}}},
        {"process": {"cmd": "true"}, "pty": {"size": {"rows": "x"}}},
        {"process": {"cmd": "true", "args": ["x" * 5_000_000]}},
    ],
)
async def test_wrong_start_requests_are_the_clients_mistake(agent: Agent, request_: dict[str, object]) -> None:
    with pytest.raises(RpcFailed) as failed:
        await agent.collect("process.Process/Start", request_)
    assert failed.value.code == "invalid_argument", failed.value
