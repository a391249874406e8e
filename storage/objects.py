"""The S3-compatible store: the only module that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from domain.errors import NotFound, Unavailable

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Download:
    """An object, or a part of one, on its way. `body` must be exhausted or closed."""

    body: Iterator[bytes]
    length: int
    total: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the store may take to be reached, and between two bytes of an answer, before the last attempt fails."""

    connect_seconds: float = 3
    read_seconds: float = 30
    attempts: int = 3


STUBBORN = Patience()  # for workers, which have nothing better to do


class ObjectStore:
    """One bucket. Errors of the store are Unavailable; a missing key is NotFound."""

    def __init__(
        self,
        endpoint_url: str | None,
        access_key: str,
        secret_key: str,
        bucket: str,
        *,
        region: str = "us-east-1",
        public_url: str | None = None,
        patience: Patience = STUBBORN,
    ) -> None:
        self.bucket = bucket
        self._client = self._connect(endpoint_url, access_key, secret_key, region, patience)
        self._signer = self._connect(public_url, access_key, secret_key, region, patience) if public_url else None

    @staticmethod
    def _connect(url: str | None, access_key: str, secret_key: str, region: str, patience: Patience) -> Any:
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=patience.connect_seconds,
            read_timeout=patience.read_seconds,
            retries={"total_max_attempts": patience.attempts, "mode": "standard"},
            max_pool_connections=32,
            proxies={},
        )
        client = boto3.client(  # pyright: ignore[reportUnknownMemberType] - boto3's stubs overload every service
            "s3",
            endpoint_url=url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=region,
            config=config,
        )
        return cast("Any", client)

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        try:
            self._client.create_bucket(Bucket=self.bucket)
        except ClientError as error:
            if _code(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise Unavailable(f"The object store refused to create its bucket: {_code(error)}.") from error
        except BotoCoreError as error:
            raise Unavailable("The object store does not answer.") from error

    def put(self, key: str, body: bytes | Path, content_type: str) -> None:
        """Store bytes, or a file without reading it into memory."""
        with _refusals():
            if isinstance(body, Path):
                self._client.upload_file(str(body), self.bucket, key, ExtraArgs={"ContentType": content_type})
            else:
                self._client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def copy(self, source: str, key: str) -> None:
        """Store an object a second time; its bytes stay inside the store."""
        with _refusals():
            self._client.copy_object(Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": source})

    def get(self, key: str, first: int | None = None, last: int | None = None) -> Download:
        """Read an object, or its bytes from `first` to `last` inclusive."""
        part = {} if first is None else {"Range": f"bytes={first}-{'' if last is None else last}"}
        with _refusals():
            answer = self._client.get_object(Bucket=self.bucket, Key=key, **part)
        total = int(answer["ContentRange"].rpartition("/")[2]) if part else int(answer["ContentLength"])
        return Download(answer["Body"].iter_chunks(CHUNK_BYTES), int(answer["ContentLength"]), total)

    def read(self, key: str) -> bytes:
        """A small object as a whole."""
        body = self.get(key).body
        with _refusals():
            return b"".join(body)

    def has(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            with _refusals():
                self._client.head_object(Bucket=self.bucket, Key=key)
        except NotFound:
            return False
        return True

    def pages(self, prefix: str) -> Iterator[list[str]]:
        """All keys that begin so, up to 1,000 at a time. Only `storage.reconciliation` may ask."""
        token: dict[str, str] = {}
        while True:
            with _refusals():
                answer = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **token)
            yield [str(each["Key"]) for each in answer.get("Contents", ())]
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": str(answer["NextContinuationToken"])}

    def fetch(self, key: str, path: Path) -> None:
        """Read an object into a file."""
        with _refusals():
            self._client.download_file(self.bucket, key, str(path))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete up to 1,000 objects; missing ones are no error."""
        if not keys:
            return
        with _refusals():
            answer = self._client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        if answer.get("Errors"):
            raise Unavailable("The object store did not delete everything.")

    def link(self, key: str, seconds: int) -> str | None:
        """A presigned URL, if clients can reach the store; None if the API must pass the bytes on."""
        if self._signer is None:
            return None
        params = {"Bucket": self.bucket, "Key": key}
        return str(self._signer.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds))


class _refusals:  # noqa: N801 - a context manager that reads like a verb
    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClientError):
            if _code(error) in {"NoSuchKey", "404"}:
                raise NotFound("No such object.") from error
            raise Unavailable(f"The object store refused: {_code(error)}.") from error
        if isinstance(error, (BotoCoreError, Boto3Error)):
            raise Unavailable("The object store does not answer.") from error


def _code(error: ClientError) -> str:
    return str(cast("dict[str, Any]", error.response).get("Error", {}).get("Code", "unknown"))
