"""What runs in another Python and calls functions there: one JSON object a line comes in, one goes out.

It is started as a file, by the interpreter that a task names, which need not have plandeck: so it imports
nothing but the standard library, and keeps to what Python 3.8 knows. Its first argument is the folder from
which modules are imported. Its stdin is a socket, over which it is told what to do:

- {"call": "module:callable", "arguments": {...}, "environment": {...}, "directory": "..."}
  is answered by {"exit_code": 0, "error": "", "is_clean": true}
- {"check": [["module:callable", ["argument", ...]], ...]}
  is answered by {"faults": ["", "what is wrong", ...]}

is_clean: whether nothing of the call goes on, so that another can be made.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import socket
import sys
import threading
import traceback
import uuid
from typing import Any, Awaitable, Callable, TextIO  # noqa: UP035 -- Python 3.8


class Mistake(Exception):
    """What was asked for cannot be called. The message says why."""


def main() -> None:
    channel = _take_stdin()
    sys.path[0] = sys.argv[1]
    for line in channel:
        request = json.loads(line)
        answer = (
            _call(request) if "call" in request else {"faults": [_fault(*each) for each in request["check"]]}
        )
        try:
            channel.write(json.dumps(answer) + "\n")
            channel.flush()
        except OSError:  # nobody is there any more
            return


def _take_stdin() -> TextIO:
    """The socket for ourselves, and nothing to read for the functions that are called."""
    own = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return socket.socket(fileno=own).makefile("rw", encoding="utf-8", newline="\n")


def _call(request: dict[str, Any]) -> dict[str, Any]:
    before = dict(os.environ)
    exit_code, error = 1, ""
    try:
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        value = _found(request["call"])(**request["arguments"])
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
        _leave(value)
        exit_code = 0
    except Mistake as mistake:
        error = str(mistake)
        print("plandeck: " + error, file=sys.stderr)
    except SystemExit as left:
        exit_code, error = _exit_code(left)
    except BaseException as raised:
        error = traceback.format_exception_only(type(raised), raised)[-1].strip()
        # from the function on: how it came to be called is nothing to those who read its log
        traceback.print_exception(type(raised), raised, raised.__traceback__ and raised.__traceback__.tb_next)
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed by the function
            return {"exit_code": exit_code, "error": error, "is_clean": False}
    return {"exit_code": exit_code, "error": error, "is_clean": _is_clean()}


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _exit_code(left: SystemExit) -> tuple[int, str]:
    """As Python itself leaves with what `sys.exit` was given."""
    if left.code is None or left.code == 0:
        return 0, ""
    if isinstance(left.code, int):
        return left.code & 255, f"exit {left.code & 255}"
    print(left.code, file=sys.stderr)
    return 1, str(left.code)


def _leave(value: Any) -> None:
    """Hand a returned value over as outputs: a mapping by its keys, anything else as `result`."""
    path = os.environ.get("PLANDECK_OUTPUT")
    if value is None or path is None:
        return
    outputs = value if isinstance(value, dict) else {"result": value}
    texts = [(str(key), _text(each)) for key, each in outputs.items()]
    end = uuid.uuid4().hex
    with open(path, "a", encoding="utf-8", newline="\n") as file:  # noqa: PTH123
        for key, text in texts:
            file.write(f"{key}<<{end}\n{text}\n{end}\n" if "\n" in text else f"{key}={text}\n")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        raise Mistake(f"what it returned cannot be an output: {type(value).__name__}") from None


def _is_clean() -> bool:
    """Whether neither a thread nor a process goes on."""
    threads = [
        each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon
    ]
    if threads:
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    except (AttributeError, OSError):  # a system without waitid
        return True
    return False


def _found(name: str) -> Callable[..., Any]:
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            raise Mistake(f"there is no module {error.name!r} for {sys.executable}") from None
        raise
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise Mistake(f"module {module!r} has no {path!r}") from None
    if not callable(found):
        raise Mistake(f"{name!r} is no function but {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _fault(name: str, arguments: list[str]) -> str:
    """What is wrong with a call, without making it; "" if nothing is."""
    try:
        function = _found(name)
    except Mistake as mistake:
        return str(mistake)
    except BaseException as raised:
        return "cannot import it: " + traceback.format_exception_only(type(raised), raised)[-1].strip()
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # not every function tells
        return ""
    try:
        signature.bind(**dict.fromkeys(arguments))
    except TypeError as error:
        return f"{name}{signature}: {error}"
    return ""


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
