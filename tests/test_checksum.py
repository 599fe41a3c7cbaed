"""Files that carry their own hash."""

import json

from hypothesis import given
from hypothesis import strategies as st

from embstore.base import checksum

DOCUMENT = checksum.with_checksum(
    json.dumps({"space": "gpt2.word.last", "dim": 768, checksum.KEY: checksum.BLANK}, indent=2).encode()
)


@given(st.integers(0, 8 * len(DOCUMENT) - 1))
def test_any_flipped_bit_is_found(bit):
    data = bytearray(DOCUMENT)
    data[bit // 8] ^= 1 << (bit % 8)
    assert checksum.has_valid_checksum(DOCUMENT)
    assert not checksum.has_valid_checksum(bytes(data))
