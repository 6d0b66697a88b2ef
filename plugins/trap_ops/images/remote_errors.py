"""What goes wrong on the way to a remote file, in words that hold no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trap_ops.errors import ImageError

# By HTTP's status.
_STATUS = {
    401: ("access refused", "it asks for a password, or refuses the one it got"),
    403: ("access refused", "it refuses access"),
    404: ("no such file", "it has no such file"),
    410: ("no such file", "the file has gone"),
}
# By S3's words for it.
_CODES = {
    "NoSuchKey": 404,
    "NoSuchBucket": 404,
    "AccessDenied": 403,
    "InvalidAccessKeyId": 403,
    "SignatureDoesNotMatch": 403,
    "ExpiredToken": 403,
    "InvalidToken": 403,
}
# By class of Python, or by a part of the name of a library's class. The first that fits counts.
_KINDS: tuple[tuple[tuple[type[Exception], ...], str, str, str], ...] = (
    ((TimeoutError,), "Timeout", "unreachable", "the server does not answer in time"),
    ((FileNotFoundError,), "NotFound$", "no such file", "the server has no such file"),
    ((PermissionError,), "NoCredentials", "access refused", "the server refuses access"),
    ((), "Certificate|SSL", "unreachable", "the server's certificate is not trusted"),
    (
        (),
        "Payload|Incomplete|Disconnected|ResponseStreaming",
        "unreachable",
        "the transfer ended early",
    ),
    ((ConnectionError,), "Connect|DNS", "unreachable", "its server cannot be reached"),
)
_ADVICE = {
    "access refused": "check the connection trap_images",
    "no such file": "check the address",
    "unreachable": "the next run tries again",
}


def unreachable(address: str, error: Exception) -> ImageError:
    """Say why a remote file cannot be read, from the kinds of errors and their numbers alone."""
    reason, words = "unreachable", f"it cannot be reached ({type(error).__name__})"
    for cause in _causes(error):
        if isinstance(cause, ImageError):
            msg = f"{address}: {cause.message}"
            return ImageError(msg, reason=cause.reason, passing=cause.passing)
        found = _explained(cause)
        if found:
            reason, words = found
            break
    msg = f"{address}: {words}; {_ADVICE[reason]}"
    return ImageError(msg, reason=reason, passing=True)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those behind it, the deepest first: it knows best."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return reversed(chain)


def _explained(error: BaseException) -> tuple[str, str] | None:
    status = _status_of(error)
    if status in _STATUS:
        reason, words = _STATUS[status]
        return reason, f"the server says that {words} ({status})"
    if status:
        return "unreachable", f"the server answers with an error ({status})"
    name = type(error).__name__
    for kinds, names, reason, words in _KINDS:
        if isinstance(error, kinds) or re.search(names, name):
            return reason, words
    return None


def _status_of(error: BaseException) -> int:
    """Status of HTTP that an error of aiohttp or botocore carries; 0 if it carries none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _CODES.get(code, int(status))
    status = getattr(error, "status", 0)
    return status if isinstance(status, int) else 0
