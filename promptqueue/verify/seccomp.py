"""The system calls that a sandboxed process does not get, as a classic BPF program for the kernel.

Built here as plain bytes and loaded by the launcher, so that no C library of filters is needed.
Numbers: the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import platform
import struct

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG1, _ARG2, _ARG3 = 0, 4, 16, 24, 32, 40
"""Offsets in struct seccomp_data; of the arguments the low halves (both machines little-endian)."""
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000
"""The bit of x32 numbers: a second door to the same calls on x86_64."""
_NAMESPACES = 0x7E020080
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET,TIME} of sched.h."""
_AF_UNIX = 1
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into the terminal of the user (CVE-2017-5226)."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SHARED_BY_ALL = {
    "io_uring_setup": 425,  # sockets without socket()
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
}
_DENIED = {  # name: (x86_64, aarch64)
    "socket": (41, 198),
    "setsockopt": (54, 208),  # makes a pair of sockets hold more than the watch counts for them
    "vmsplice": (278, 75),  # puts pages into a pipe, which holds them when they are unmapped
    "memfd_create": (319, 279),  # memory that no limit of a process counts
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "semget": (64, 190),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "personality": (135, 92),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setgroups": (116, 159),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
_IDLE = {  # answered "done", and nothing is done: Landlock does not see them; None: not there
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "setpriority": (141, 140),  # these reach every process of the same user
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
}
_TRUNCATE = (76, 45)
_CLONE, _CLONE3, _SOCKETPAIR, _IOCTL = (56, 220), (435, 435), (53, 199), (16, 29)
_PRLIMIT, _UTIMENSAT, _MMAP = (302, 261), (280, 88), (9, 222)


def filter_program(machine: str = "", *, truncates: bool = True) -> bytes | None:
    """Return the filter as an array of struct sock_filter.

    Args:
        machine: as `platform.machine()` names it; empty for this one.
        truncates: whether files may be truncated by their path, because Landlock says which.

    Returns:
        None for a machine whose numbers are not known here.
    """
    machine = machine or platform.machine()
    if machine not in _AUDIT_ARCH:
        return None
    column = list(_AUDIT_ARCH).index(machine)
    lines = _foreign_calls_end(machine)
    denied = [*_DENIED.values(), *(() if truncates else (_TRUNCATE,))]
    for number in [*_SHARED_BY_ALL.values(), *(pair[column] for pair in denied)]:
        lines += _answer(number, errno.EPERM)
    for pair in _IDLE.values():
        lines += [] if pair[column] is None else _answer(pair[column] or 0, 0)
    lines += _answer(_CLONE3[column], errno.ENOSYS)  # its flags lie where no filter can read them
    lines += _argument_rules(column)
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def _foreign_calls_end(machine: str) -> list[bytes]:
    return [
        _line(_LOAD, _ARCH),
        _line(_JUMP_EQ, _AUDIT_ARCH[machine], then=1),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NR),
        _line(_JUMP_GE, _X32, otherwise=1),
        _line(_RETURN, _ERRNO | errno.ENOSYS),
    ]


def _argument_rules(column: int) -> list[bytes]:
    """Judge calls by an argument; each block loads the number again for the next one."""
    deny = _line(_RETURN, _ERRNO | errno.EPERM)
    clone = [_line(_LOAD, _ARG0), _line(_JUMP_SET, _NAMESPACES, otherwise=1), deny]
    pair = [_line(_LOAD, _ARG0), _line(_JUMP_EQ, _AF_UNIX, then=1), deny]
    terminal = [_line(_LOAD, _ARG1)]
    for request in _TERMINAL_INPUT:
        terminal += [_line(_JUMP_EQ, request, otherwise=1), deny]
    limits = [_line(_LOAD, _ARG0), _line(_JUMP_EQ, 0, then=1), deny]  # only its own
    # Idle as well; but "now" is what Path.touch tries first, and only if refused makes the file.
    times = [_line(_LOAD, _ARG2), _line(_JUMP_EQ, 0, otherwise=1), deny, _line(_RETURN, _ERRNO)]
    # Shared memory without a file stays when it is unmapped in part, and is then nobody's.
    shared = [_line(_LOAD, _ARG3), _line(_JUMP_SET, _MAP_SHARED, otherwise=2)]
    shared += [_line(_JUMP_SET, _MAP_ANONYMOUS, otherwise=1), deny]
    blocks = (
        *((_CLONE, clone), (_SOCKETPAIR, pair), (_IOCTL, terminal)),
        *((_PRLIMIT, limits), (_UTIMENSAT, times), (_MMAP, shared)),
    )
    lines: list[bytes] = []
    for numbers, body in blocks:
        lines += [_line(_JUMP_EQ, numbers[column], otherwise=len(body) + 1), *body]
        lines.append(_line(_LOAD, _NR))
    return lines


def _answer(number: int, code: int) -> list[bytes]:
    return [_line(_JUMP_EQ, number, otherwise=1), _line(_RETURN, _ERRNO | code)]


def _line(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)
