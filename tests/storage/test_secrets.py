from __future__ import annotations

import secrets

import pytest

from domain.ids import new_id
from storage.secrets import Sealed, UnreadableSecret, seal, unseal

OLD, NEW = {"1": secrets.token_bytes(32)}, {"2": secrets.token_bytes(32)}


def test_a_secret_opens_with_its_key_and_is_not_readable_without() -> None:
    owner = new_id()
    sealed = seal("whsec_plain", OLD, owner)
    assert unseal(sealed, OLD, owner) == "whsec_plain"
    assert b"plain" not in sealed.ciphertext


def test_sealing_twice_gives_different_ciphertexts() -> None:
    owner = new_id()
    assert seal("same", OLD, owner).ciphertext != seal("same", OLD, owner).ciphertext


def test_the_first_key_seals_and_the_others_still_open() -> None:
    owner = new_id()
    before = seal("old", OLD, owner)
    rotated = NEW | OLD
    assert seal("new", rotated, owner).key_id == "2"
    assert unseal(before, rotated, owner) == "old"


def test_a_secret_moved_to_another_row_does_not_open() -> None:
    with pytest.raises(UnreadableSecret):
        unseal(seal("mine", OLD, new_id()), OLD, new_id())


def test_a_missing_key_a_wrong_key_and_a_changed_byte_do_not_open() -> None:
    owner = new_id()
    sealed = seal("mine", OLD, owner)
    changed = Sealed(sealed.ciphertext[:-1] + bytes([sealed.ciphertext[-1] ^ 1]), sealed.key_id)
    for value, keys in ((sealed, NEW), (sealed, {"1": NEW["2"]}), (changed, OLD), (Sealed(b"", "1"), OLD)):
        with pytest.raises(UnreadableSecret):
            unseal(value, keys, owner)
