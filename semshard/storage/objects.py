"""An object store as a place: S3 and what speaks its protocol, Google Cloud Storage, Azure. The only user of obstore.

An object appears whole when its only request, or the last request of its multipart upload, is answered; put-if-absent
is one conditional request. obstore's own retries are off but for the parts of an upload, so that every repeated request
is reported. Credentials come from the environment, and no message contains them: see `answers`.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from ..errors import AlreadyThere, StorageError, UsageError
from .answers import problem_of
from .attempts import Limits, Passing, attempt
from .place import Content, Entry, Remark, check_name, split_url

T = TypeVar("T")
MOST_PARTS = 9_000  # S3 takes 10,000
PART_RETRIES = 4  # of one part of an upload, by obstore itself
_ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
_UNCONDITIONAL = "this store ignores If-None-Match, so that two processes could both write; use another one"
_PAGE = 1000  # objects of a listing that are handed over together
_users = dict[str, int]()  # the process that made the first request: obstore's threads do not survive a fork


class _RefusedError(StorageError):
    """The store does not carry out a request: it answers so, or with what makes no sense."""


def silent(sentence: str) -> None:
    """The default: nobody is watching."""


class ObjectPlace:
    """The objects of a bucket whose keys begin with a prefix."""

    def __init__(self, url: str, remark: Remark = silent, limits: Limits | None = None) -> None:
        """`url`: s3://BUCKET/PREFIX, gs://… or az://CONTAINER/PREFIX; `remark` hears of every repeated request.

        Raises `UsageError` where the URL is not of this form, or obstore is missing.
        """
        self._scheme, self._bucket, self._prefix = _parsed(url)
        self._remark, self._limits = remark, limits or Limits()
        self._is_conditional = False  # whether the store was seen to refuse a put where something is
        self._single = _store(self._scheme, self._bucket, self._limits, 0)
        self._parted = _store(self._scheme, self._bucket, self._limits, PART_RETRIES)

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectPlace, (self.url, silent, self._limits)

    @property
    def url(self) -> str:
        return f"{self._scheme}://{'/'.join(filter(None, (self._bucket, self._prefix)))}"

    def put(self, name: str, content: Content) -> None:
        part = self._limits.part
        if isinstance(content, Path) and content.stat().st_size <= part:
            content = content.read_bytes()
        if isinstance(content, bytes) and len(content) <= part:
            self._put(name, content)
        elif isinstance(content, bytes | Path):
            whole, size = content, len(content) if isinstance(content, bytes) else content.stat().st_size
            self._upload(name, lambda: whole, max(part, -(-size // MOST_PARTS)))
        else:
            rest = iter(content)
            head = b"".join(_until(rest, part))
            if len(head) <= part:
                self._put(name, head)
            else:  # what was read is gone, so that only its parts are sent again
                self._upload(name, lambda: itertools.chain([head], rest), part, attempts=1)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        tries, written = 0, False

        def put() -> None:
            obstore.put(self._single, self._key(name), data, mode="create", use_multipart=False)

        def create() -> bool:
            nonlocal tries, written
            tries += 1
            try:
                if self._is_conditional:
                    put()
                    return True
                if self._known_size(name) is None:  # a store that ignores conditions would replace what is there
                    put()
                    written = True
                    put()  # of the same bytes, which must be refused
                    raise StorageError(f"{self.url}: {_UNCONDITIONAL}")
            except (AlreadyExistsError, PreconditionError):
                self._is_conditional = True
            if written:
                return True
            try:
                same = self.size(name) == len(data) and self.get(name) == data
            except FileNotFoundError:  # another request for this name was under way, and failed
                raise Passing("the store answered with a conflict, but the object is not there") from None
            if not same:
                raise AlreadyThere(f"{self.url}/{name} is there already, with other bytes")
            return tries > 1  # an earlier attempt may have written it, whose answer was lost

        return self._request(f"write {name}", name, create)

    def get(self, name: str) -> bytes:
        return b"".join(self.stream(name))

    def get_range(self, name: str, start: int, end: int) -> bytes:
        if end <= start:
            self.size(name)
            return b""
        return b"".join(self._read(name, start, end))

    def stream(self, name: str) -> Iterator[bytes]:
        return self._read(name, 0, sys.maxsize)

    def size(self, name: str) -> int:
        import obstore

        head = self._request(f"look for {name}", name, lambda: obstore.head(self._single, self._key(name)))
        return int(head["size"])

    def list(self, under: str = "") -> Iterator[Entry]:
        import obstore

        prefix = "/".join(filter(None, (self._prefix, check_name(under) if under else "")))
        skipped = len(self._prefix) + bool(self._prefix)
        stream: Iterator[Any] | None = None
        last: str | None = None

        def page() -> Any:
            nonlocal stream
            here = stream or iter(obstore.list(self._single, prefix or None, offset=last, chunk_size=_PAGE))
            stream = None  # a listing that failed is asked for anew, behind the last object
            found: Any = next(here, [])
            stream = here
            return found

        while found := self._request("list the objects", "", page):
            for each in found:
                yield Entry(each["path"][skipped:], int(each["size"]))
            last = str(found[-1]["path"])

    def delete(self, name: str) -> None:
        import obstore

        with suppress(FileNotFoundError):
            self._request(f"delete {name}", name, lambda: obstore.delete(self._single, self._key(name)))

    def _put(self, name: str, data: bytes) -> None:
        import obstore

        self._request(
            f"write {name}", name, lambda: obstore.put(self._single, self._key(name), data, use_multipart=False)
        )

    def _upload(self, name: str, content: Callable[[], Any], part: int, attempts: int = 0) -> None:
        """A multipart upload, from the beginning in each attempt. obstore removes the parts of one that fails, as far
        as it can: a rule of the bucket must remove the others.
        """
        import obstore

        def put() -> None:
            obstore.put(
                self._parted, self._key(name), content(), use_multipart=True, chunk_size=part,
                max_concurrency=self._limits.together,
            )  # fmt: skip

        self._request(f"write {name}", name, put, attempts)

    def _read(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Parts of an object, several requested at a time, all of the version that the first one is of."""
        part = self._limits.part
        try:
            data, size, version = self._part(name, (start, min(start + part, end)))
        except _RefusedError:  # a part that begins at the end or behind it, as every part of an empty object
            known = self._known_size(name)
            if known is None or start < known:
                raise
            return
        yield data
        end = min(end, size)
        ranges = [(at, min(at + part, end)) for at in range(start + part, end, part)]
        if not ranges:
            return
        with ThreadPoolExecutor(self._limits.together) as pool:
            waiting = deque[Future[tuple[bytes, int, str | None]]]()
            for each in ranges:
                if len(waiting) == self._limits.together:
                    yield waiting.popleft().result()[0]
                waiting.append(pool.submit(self._part, name, each, version))
            while waiting:
                yield waiting.popleft().result()[0]

    def _known_size(self, name: str) -> int | None:
        """The bytes of an object; None where it is not there, or that cannot be found out."""
        try:
            return self.size(name)
        except (FileNotFoundError, StorageError):
            return None

    def _part(self, name: str, part: tuple[int, int], version: str | None = None) -> tuple[bytes, int, str | None]:
        """Bytes of an object, its size and its version. Raises `StorageError` where it is no longer of `version`."""
        import obstore
        from obstore.exceptions import PreconditionError

        options: Any = {"range": part} | ({"if_match": version} if version else {})

        def get() -> tuple[bytes, int, str | None]:
            try:
                found = obstore.get(self._single, self._key(name), options=options)
                data, about = bytes(found.bytes()), found.meta
            except PreconditionError:
                raise StorageError(f"{self.url}/{name} was changed while it was read") from None
            if len(data) != min(part[1], about["size"]) - part[0]:
                raise Passing("the answer was cut short")
            return data, int(about["size"]), about["e_tag"]

        return self._request(f"read {name}", name, get)

    def _request(self, what: str, name: str, request: Callable[[], T], attempts: int = 0) -> T:
        """What `request` returns; errors in words. Raises `FileNotFoundError`, `StorageError`."""
        from obstore.exceptions import BaseError

        where = f"{self.url}/{name}" if name else self.url
        if _users.setdefault("process", os.getpid()) != os.getpid():
            raise StorageError(f"{where}: object stores cannot be used after a fork; start workers with 'spawn'")

        def in_words() -> T:
            try:
                return request()
            except (BaseError, FileNotFoundError) as error:
                problem = problem_of(type(error).__name__, str(error), self._limits.timeout)
            if problem.is_missing:
                raise FileNotFoundError(f"{where} is missing")
            if problem.passes:
                raise Passing(problem.words)
            raise _RefusedError(f"{where}: {problem.words}")

        try:
            return attempt(in_words, self._limits, f"{self.url}: {what}", self._remark, attempts)
        except Passing as problem:
            tried = f", {attempts or self._limits.attempts} times" if attempts != 1 else ""
            raise StorageError(f"{where}: {problem}{tried}") from None

    def _key(self, name: str) -> str:
        return "/".join(filter(None, (self._prefix, check_name(name))))


def _parsed(url: str) -> tuple[str, str, str]:
    """Scheme, bucket and prefix of a URL. What could be a secret in it is not repeated."""
    scheme, rest = split_url(url) or ("", "")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or "?" in rest:
        raise UsageError(f"{scheme}:// takes a bucket and a prefix; credentials and options belong in the environment")
    if not bucket or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise UsageError(f"{url} is not of the form {scheme}://BUCKET/PREFIX")
    return scheme, bucket, prefix


def _store(scheme: str, bucket: str, limits: Limits, retries: int) -> Any:
    try:
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise UsageError(f"{scheme}:// needs obstore: pip install 'semshard[objects]'") from None
    options = {
        "timeout": timedelta(seconds=limits.timeout),
        "connect_timeout": timedelta(seconds=limits.connect_timeout),
        "allow_http": os.environ.get(_ALLOW_HTTP[scheme], "").lower() in ("1", "true"),  # these options replace all
    }
    backoff = {
        "init_backoff": timedelta(seconds=limits.wait),
        "max_backoff": timedelta(seconds=limits.longest_wait),
    }
    retry = {"max_retries": retries, "backoff": backoff, "retry_timeout": timedelta(seconds=limits.timeout)}
    kinds: dict[str, Callable[..., Any]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    try:
        return kinds[scheme](bucket, client_options=options, retry_config=retry)
    except Exception as error:  # its text may repeat what is in the environment
        what = f"the settings of the environment are not usable ({type(error).__name__})"
        raise UsageError(f"{scheme}://{bucket}: {what}") from None


def _until(rest: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The first pieces, until they are more than `most` bytes together, or all."""
    size = 0
    for piece in rest:
        yield piece
        size += len(piece)
        if size > most:
            return
