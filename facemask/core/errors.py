"""The one exception whose message is written for users."""


class UserError(Exception):
    """Something the user can mend; the message is one line that says what, where and how."""
