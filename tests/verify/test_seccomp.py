"""The filter of system calls, run as the kernel runs it; the numbers are those of its headers."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from promptqueue.verify.seccomp import filter_program

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_ of linux/audit.h."""
ALLOWED, REFUSED, IDLE, MISSING, KILLED = "allowed", "refused", "idle", "missing", "killed"
ANSWERS = {
    0x7FFF0000: ALLOWED,
    0x00050000 | errno.EPERM: REFUSED,
    0x00050000: IDLE,
    0x00050000 | errno.ENOSYS: MISSING,
    0x80000000: KILLED,
}
"""SECCOMP_RET_ of linux/seccomp.h."""
CALLS = {
    ALLOWED: (
        *("read", "write", "openat", "close", "execve", "exit_group", "wait4", "kill", "munmap"),
        *("getpid", "sendmsg", "pipe2", "futex", "getrandom", "sched_getaffinity", "setrlimit"),
    ),
    REFUSED: (
        *("socket", "setsockopt", "io_uring_setup", "io_uring_enter", "io_uring_register"),
        *("memfd_create", "memfd_secret", "vmsplice", "shmget", "shmat", "msgget", "semget"),
        *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd"),
        *("kcmp", "add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd"),
        *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "fsopen"),
        *("move_mount", "fsmount", "mount_setattr", "fanotify_init", "kexec_load", "init_module"),
        *("finit_module", "delete_module", "swapon", "reboot", "quotactl", "syslog", "personality"),
        *("setuid", "setgid", "setgroups", "setresuid", "setresgid", "migrate_pages", "move_pages"),
    ),
    IDLE: (
        *("fchmod", "fchmodat", "fchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr"),
        *("removexattr", "setpriority", "ioprio_set", "sched_setaffinity", "sched_setscheduler"),
    ),
    MISSING: ("clone3",),
}
_NEW_USER, _SIGCHLD = 0x10000000, 17
_PRIVATE, _SHARED, _ANONYMOUS = 0x02, 0x01, 0x20
BY_ARGUMENT = [
    ("clone", (_SIGCHLD,), ALLOWED),
    ("clone", (_NEW_USER | _SIGCHLD,), REFUSED),
    ("socketpair", (1,), ALLOWED),  # AF_UNIX
    ("socketpair", (2,), REFUSED),
    ("ioctl", (0, 0x5401), ALLOWED),  # TCGETS
    ("ioctl", (0, 0x5412), REFUSED),  # TIOCSTI
    ("ioctl", (0, 0x541C), REFUSED),  # TIOCLINUX
    ("prlimit64", (0,), ALLOWED),
    ("prlimit64", (1,), REFUSED),
    ("mmap", (0, 4096, 3, _PRIVATE | _ANONYMOUS), ALLOWED),
    ("mmap", (0, 4096, 3, _SHARED), ALLOWED),
    ("mmap", (0, 4096, 3, _SHARED | _ANONYMOUS), REFUSED),
    ("utimensat", (0, 0, 0), REFUSED),
    ("utimensat", (0, 0, 4096), IDLE),
]


def answer(program: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> str:
    """Interpret a classic BPF program, as far as filters of system calls need it."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number, architecture, 0, *padded)  # struct seccomp_data
    lines, place, loaded = [*struct.iter_unpack("=HBBI", program)], 0, 0
    while True:
        code, then, otherwise, value = lines[place]
        place += 1
        if code == 0x06:  # BPF_RET
            return ANSWERS[value]
        if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (loaded,) = struct.unpack_from("=I", data, value)
            continue
        holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
        place += then if holds else otherwise


@pytest.fixture(params=HEADERS)
def machine(request: pytest.FixtureRequest) -> str:
    if not HEADERS[request.param].exists():
        pytest.skip("the kernel's headers are not here (linux-libc-dev)")
    return str(request.param)


def numbers(machine: str) -> dict[str, int]:
    found = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", HEADERS[machine].read_text())
    return {name: int(number) for name, number in found}


def test_each_call_gets_the_answer_that_it_deserves(machine: str) -> None:
    program, known = filter_program(machine), numbers(machine)
    assert program is not None

    found = {
        (name, answer(program, ARCHITECTURES[machine], known[name]))
        for names in CALLS.values()
        for name in names
    }

    assert found == {(name, told) for told, names in CALLS.items() for name in names}


@pytest.mark.parametrize(("name", "arguments", "told"), BY_ARGUMENT)
def test_some_calls_are_judged_by_an_argument(
    machine: str, name: str, arguments: tuple[int, ...], told: str
) -> None:
    program = filter_program(machine)
    assert program is not None

    number = numbers(machine)[name]

    assert answer(program, ARCHITECTURES[machine], number, arguments) == told


@pytest.mark.parametrize(("truncates", "told"), [(True, ALLOWED), (False, REFUSED)])
def test_files_are_truncated_by_path_only_where_landlock_says_which(
    machine: str, truncates: bool, told: str
) -> None:
    program = filter_program(machine, truncates=truncates)
    assert program is not None

    number = numbers(machine)["truncate"]

    assert answer(program, ARCHITECTURES[machine], number) == told


def test_a_second_door_to_the_same_calls_is_shut() -> None:
    program = filter_program("x86_64")
    assert program is not None

    assert answer(program, ARCHITECTURES["aarch64"], 0) == KILLED
    assert answer(program, 0x40000003, 0) == KILLED  # AUDIT_ARCH_I386, by int 0x80
    assert answer(program, ARCHITECTURES["x86_64"], 0x40000000) == MISSING  # x32


def test_a_machine_whose_numbers_are_not_known_has_no_filter() -> None:
    assert filter_program("riscv64") is None
