"""The seccomp profile of every sandbox: all system calls that Linux has (`syscalls.txt`) but the ones named here.

A sandbox has none of the capabilities that most of these need; the profile keeps the code behind them out of reach too.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

REFUSED = {
    "mounting": "mount umount umount2 pivot_root move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick"
    " mount_setattr fanotify_init open_by_handle_at quotactl quotactl_fd swapon swapoff",
    "other namespaces": "setns unshare",
    "kernel modules and other kernels": "create_module delete_module finit_module get_kernel_syms init_module"
    " query_module kexec_load kexec_file_load reboot",
    "looking into the kernel or other processes": "bpf perf_event_open kcmp lookup_dcookie syslog userfaultfd"
    " lsm_get_self_attr lsm_set_self_attr lsm_list_modules uretprobe",
    "the kernel's key ring, which has no namespace": "add_key keyctl request_key",
    "the host's clock and name": "clock_settime clock_settime64 settimeofday stime sethostname setdomainname",
    "the host's memory and hardware": "get_mempolicy set_mempolicy set_mempolicy_home_node mbind migrate_pages"
    " move_pages ioperm iopl vm86 vm86old vhangup acct",
    "left over from old kernels": "_sysctl nfsservctl sysfs uselib ustat afs_syscall bdflush break ftime getpmsg gtty"
    " idle lock mpx prof profil putpmsg security stty tuxcall ulimit vserver",
}
"""Answered with EPERM, by reason."""

MISSING = "io_uring_setup io_uring_enter io_uring_register"
"""Answered with ENOSYS, as by a kernel without them: programs then do without, and io_uring's record is bad."""

RESTRICTED = ("clone", "clone3", "personality", "socket")

ENOSYS = 38
NEW_NAMESPACES = 0x7E020000
"""The flags of clone(2) that make a new namespace."""
AF_VSOCK = 40
"""Sockets to the hypervisor, which have no namespace."""
PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""Plain Linux, with old file times or 32 bits, and asking which one it is."""

Rule = dict[str, Any]


@lru_cache(maxsize=1)
def make_profile() -> str:
    """Return the profile as the engine takes it."""
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
        "syscalls": [_allow(*list_allowed()), *_restrict()],
    }
    return json.dumps(profile, separators=(",", ":"))


def list_allowed() -> list[str]:
    """Names of the system calls that are allowed with any arguments."""
    known = (files("sandlot_server.runtime") / "syscalls.txt").read_text().split()
    refused = {name for names in REFUSED.values() for name in names.split()}
    return sorted(set(known) - refused - set(MISSING.split()) - set(RESTRICTED))


def _restrict() -> list[Rule]:
    return [
        _allow("clone", argument=(0, "SCMP_CMP_MASKED_EQ", NEW_NAMESPACES)),
        # A filter cannot see clone3's flags; libc falls back to clone when it is told that there is no clone3.
        {"names": ["clone3", *MISSING.split()], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
        _allow("socket", argument=(0, "SCMP_CMP_NE", AF_VSOCK)),
        *(_allow("personality", argument=(0, "SCMP_CMP_EQ", value)) for value in PERSONALITIES),
    ]


def _allow(*names: str, argument: tuple[int, str, int] | None = None) -> Rule:
    rule: Rule = {"names": list(names), "action": "SCMP_ACT_ALLOW"}
    if argument is not None:
        index, operator, value = argument
        # What a masked comparison yields stands in the second value: no flag of the mask may be set.
        rule["args"] = [{"index": index, "op": operator, "value": value, "valueTwo": 0}]
    return rule
