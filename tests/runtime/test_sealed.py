"""JSON that tells whether it is as it was written."""

import json

import pytest

from runtime.ledger import BlockLedger
from runtime.sealed import DIGEST, seal, unseal

VALUES = {"b": [1, 2.5, None], "a": {"text": "naïve", "3": True}}


def test_values_come_back_and_a_change_shows():
    sealed = json.loads(json.dumps(seal(VALUES)))
    assert unseal(sealed) == VALUES
    assert unseal({**sealed, "b": [1, 2.5]}) is None
    assert unseal({**sealed, DIGEST: "0"}) is None
    assert unseal({**sealed, "c": 1}) is None


def test_what_was_never_sealed_is_given_back():
    assert unseal(VALUES) == VALUES


def test_numbers_as_keys_and_values_json_lacks():
    assert unseal(seal({"a": {3: (1, 2)}})) == {"a": {"3": [1, 2]}}
    with pytest.raises(ValueError, match="JSON"):
        seal({"a": float("nan")})


def test_a_record_of_a_ledger_that_was_changed_is_not_done(tmp_path):
    ledger = BlockLedger(tmp_path)
    ledger.write(3, {"7": {"report": "No effusion."}})
    assert ledger.read(3) == {"7": {"report": "No effusion."}}
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace("No effusion", "An effusion"))
    assert ledger.read(3) is None
    assert ledger.missing(range(4)) == [0, 1, 2, 3]
