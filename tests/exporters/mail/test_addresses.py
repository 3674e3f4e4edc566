"""Which addresses are taken at the door."""

from __future__ import annotations

import pytest

from exporters.mail.addresses import is_mailable, mailable
from exporters.reports.ask import Ask


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example",
        "first.last+tag@sub.my-host.example",
        "o'neil@x.example",
        "a=b&c@x.y",
        "jane_doe@my_host.example",
        "a@xn--bcher-kva.example",
    ],
)
def test_an_address_is_taken_as_it_is(address):
    assert mailable(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nobody",
        "a@host",
        "@x.example",
        "a@@b.example",
        "a@x.y@z.w",
        "a@b..example",
        "a@.",
        "a@b.",
        "a@.b.example",
        "a@-b.example",
        "..@x.example",
        "a b@x.example",
        "a@x.example ",
        "a@x.example\n",
        "a@x.example\nBcc: v@y.example",
        "a@x.example,b@x.example",
        "<a@x.example>",
        "a@[127.0.0.1]",
        "a@x.example\0",
    ],
)
def test_what_is_no_address_is_refused(address):
    assert not is_mailable(address)
    with pytest.raises(ValueError, match="is not an e-mail address"):
        Ask.model_validate({"kind": "inactive", "recipients": [address]})


@pytest.mark.parametrize("address", ["jörg@x.example", "a@bücher.example", "a@straße.example", "a@\u202ex.example"])
def test_other_letters_are_refused_with_the_way_out(address):
    with pytest.raises(ValueError, match="xn--"):
        Ask.model_validate({"kind": "inactive", "recipients": [address]})
