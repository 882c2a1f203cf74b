"""Errors whose messages are for users, and messages without secrets."""

import re

# Up to the last @: a password may contain / and @, and whitespace after a user name.
CREDENTIALS = re.compile(r"(?<=://)((?:[^\s/@]*:.*|\S*)@)(\S*)")
MISTYPED = re.compile(r"(?<=:)(/?)[^\s/@:]+:\S*@")  # http:/user:password@host; models:/name@alias has no password
PARAMETER = re.compile(r"([?&;][^=&;\s]*(?:pass|pwd|secret|token|key|auth|sig|credential)[^=&;\s]*=)\S+", re.IGNORECASE)


class UserError(Exception):
    """An error that the user can fix; the message is one line that says what, where and how."""


def redacted(text: str) -> str:
    """A text without the secrets of the URLs in it.

    What is between `://` and `@`, also where slashes are missing, and the values of query parameters such as
    `password=`, become `***`. A URL with another `@` may lose its host too.
    """
    without = CREDENTIALS.sub(lambda found: "***" if PARAMETER.search(found[1]) else f"***@{found[2]}", text)
    return PARAMETER.sub(r"\1***", MISTYPED.sub(r"\1***@", without))
