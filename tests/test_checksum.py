"""Files that carry their own hash."""

import json

from hypothesis import given
from hypothesis import strategies as st

from embstore import checksum

DOCUMENT = checksum.with_checksum(
    json.dumps({"space": "gpt2.word.last", "dim": 768, checksum.KEY: checksum.BLANK}, indent=2).encode()
)


@given(st.integers(0, 8 * len(DOCUMENT) - 1))
def test_one_flipped_bit_is_found_and_turned_back(bit: int) -> None:
    data = bytearray(DOCUMENT)
    data[bit // 8] ^= 1 << (bit % 8)
    assert not checksum.has_valid_checksum(bytes(data))
    assert checksum.undo_bit_flip(bytes(data)) == DOCUMENT


def test_two_are_not() -> None:
    data = bytearray(DOCUMENT)
    data[5] ^= 1
    data[9] ^= 1
    assert checksum.undo_bit_flip(bytes(data)) is None
