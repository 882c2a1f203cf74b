"""Messages for users: the one exception that is written for them, and no secret in any of them."""

import re

# To the last @: a password may hold / and @, and whitespace where a user name stands before it.
CREDENTIALS = re.compile(r"(?<=://)((?:[^\s/@]*:.*|\S*)@)(\S*)")
PARAMETER = re.compile(r"([?&;][^=&;\s]*(?:pass|pwd|secret|token|key|auth|sig|credential)[^=&;\s]*=)\S+", re.IGNORECASE)


class UserError(Exception):
    """Something the user can mend; the message is one line that says what, where and how."""


def redacted(text: str) -> str:
    """A text without the secrets of the URLs in it.

    What stands between `://` and `@`, and whatever follows a query parameter such as `password=`, become `***`.
    A URL with another `@` may lose its host as well: rather too much is hidden than too little.
    """
    without = CREDENTIALS.sub(lambda found: "***" if PARAMETER.search(found[1]) else f"***@{found[2]}", text)
    return PARAMETER.sub(r"\1***", without)
