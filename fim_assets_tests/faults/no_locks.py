"""A file system without locks: `flock` answers so to a whole process, by a filter in the kernel."""

import ctypes
import os
import platform
import struct

_FLOCK = {"x86_64": 73, "aarch64": 32}
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_FAIL, _ALLOW = 0x00050000, 0x7FFF0000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def without_locks(number: int) -> None:
    """Have `flock` fail with an error's number, in this process and all that it starts.

    Raises:
        PermissionError: Where no filter can be set.
    """
    call = _FLOCK.get(platform.machine())
    if platform.system() != "Linux" or call is None:
        raise PermissionError("flock cannot be filtered on this machine")
    instructions = (
        (_LOAD, 0, 0, 0),  # the number of the system call
        (_JUMP_IF_EQUAL, 0, 1, call),
        (_RETURN, 0, 0, _FAIL | number),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in instructions))
    program = _Program(len(instructions), ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program)):
        raise PermissionError(f"flock cannot be filtered: {os.strerror(ctypes.get_errno())}")
