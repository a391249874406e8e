from __future__ import annotations

from domain import keys


def test_a_key_is_well_formed_and_a_typing_error_is_not() -> None:
    key = keys.issue()
    assert keys.well_formed(key)
    wrong = key[:20] + ("a" if key[20] != "a" else "b") + key[21:]
    assert not keys.well_formed(wrong)
    assert not keys.well_formed(key[:-1])
    assert not keys.well_formed("sk-proj-something-else")


def test_the_hint_shows_the_last_four_characters_only() -> None:
    key = keys.issue()
    assert keys.hint(key).endswith(key[-4:])
    assert key[10:-4] not in keys.hint(key)


def test_the_digest_depends_on_the_pepper() -> None:
    assert keys.digest("k", b"one") != keys.digest("k", b"two")
