"""Whose fault an error is: that of what was given, or of this program."""

from __future__ import annotations

import dis

_OURS = ("features", "flowmusic")
_RAISE = dis.opmap["RAISE_VARARGS"]


def is_bad_input(error: BaseException) -> bool:
    """Whether the message of an error is meant for the user: what was given cannot be used.

    So it is with what the system refuses (OSError), and with a ValueError that a `raise` statement of
    flowmusic or features made. A ValueError of another package, or of a function in C that was called from
    here (numpy's shapes, `int("x")`), says nothing to a user: something was not checked.

    (The place decides, not a class: there are hundreds of checks, callers in Python expect ValueError of
    them, and one that forgot the class would be called an internal error.)
    """
    if isinstance(error, OSError):
        return True
    trace = error.__traceback__
    if not isinstance(error, ValueError) or trace is None:
        return False
    while trace.tb_next is not None:  # the last is where it was raised first
        trace = trace.tb_next
    frame = trace.tb_frame
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in _OURS and frame.f_code.co_code[trace.tb_lasti] == _RAISE


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, of the machine or of its GPU, was not enough; torch is not imported to tell."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


def sentence(error: BaseException) -> str:
    """The message of an error on one line; with the file's name where the system refuses it."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def reason(error: BaseException) -> str:
    """`sentence`, after the name of the error's type where it is no bad input."""
    name, message = type(error).__name__, sentence(error)
    return message if is_bad_input(error) or message == name else f"{name}: {message}"
