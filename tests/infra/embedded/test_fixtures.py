"""The servers that every other test stands on."""

import psycopg
import redis

from storage.objects import ObjectStore


def rows(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_a_test_gets_a_migrated_database_of_its_own(owner_url: str) -> None:
    assert rows(owner_url, "SELECT count(*) FROM videos") == [(0,)]
    rows(owner_url, "CREATE TABLE left_behind (id int)")


def test_the_next_test_does_not_see_what_the_last_one_left(owner_url: str) -> None:
    assert rows(owner_url, "SELECT to_regclass('left_behind')") == [(None,)]


def test_the_application_logs_in_as_itself(database_url: str) -> None:
    assert rows(database_url, "SELECT current_user::text") == [("kinema_login",)]


def test_valkey_is_empty_and_writable(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.set("key", "value")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_the_bucket_keeps_what_is_put(object_store: ObjectStore) -> None:
    object_store.put("fixtures/one", b"bytes", content_type="text/plain")
    with object_store._client.get_object(Bucket=object_store.bucket, Key="fixtures/one")["Body"] as body:
        assert body.read() == b"bytes"
    object_store.delete(["fixtures/one"])
