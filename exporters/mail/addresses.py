"""What passes for an e-mail address: every mail server takes its form, and none finds a second one in it.  PURE."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_WORD, _LABEL = r"[\w!#$%&'*+/=?^`{|}~-]+", r"\w([\w-]{0,61}\w)?"
_ADDRESS = re.compile(rf"{_WORD}(\.{_WORD})*@{_LABEL}(\.{_LABEL})+", re.ASCII)


def is_mailable(address: str) -> bool:
    return _ADDRESS.fullmatch(address) is not None


def mailable(address: str) -> str:
    """The address, unchanged.  Raises ValueError.

    A domain of other letters is not translated: two standards differ on which one it is (straße is strasse in one of them).
    """
    if not is_mailable(address):
        hint = "" if address.isascii() else " of ASCII characters (a domain of others is written xn--…)"
        raise ValueError(f"{address[:60]!r} is not an e-mail address{hint}")
    return address


Recipient = Annotated[str, Field(max_length=254), AfterValidator(mailable)]
