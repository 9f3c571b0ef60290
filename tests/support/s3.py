"""An S3 server on this machine, which knows one user, and loses the connection when it is told to."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from support.project import commit, run

BUCKET, PREFIX, REMOTE = "bucket", "cache", "storage"
_FIRST = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}


class S3Server:
    """A server with a bucket. After `stop_after` requests it closes each connection without an answer.

    Attributes:
        url: of the server.
        credentials: the variables of the user who may use the bucket.
        stop_after: the number of requests that are still answered; None for all.
    """

    def __init__(self) -> None:
        pytest.importorskip("moto.server", reason="the extras are not installed: make extras")
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.stop_after: int | None = None
        self._application: Any = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.credentials = self._make_user()

    def _answer(self, request: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        if self.stop_after is not None:
            if self.stop_after <= 0:
                request["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError
            self.stop_after -= 1
        answer: Iterable[bytes] = self._application(request, respond)
        return answer

    def client(self, name: str, **credentials: str) -> Any:
        """Return a client of a service."""
        import boto3

        keys = credentials or {key.lower(): value for key, value in self.credentials.items()}
        return boto3.client(name, endpoint_url=self.url, region_name="us-east-1", **keys)

    def _make_user(self) -> dict[str, str]:
        """Make the bucket and the user; from now on nobody else has access."""
        from moto import settings
        from moto.core.authorization import ActionAuthenticatorMixin

        urlopen(Request(f"{self.url}/moto-api/reset", method="POST")).close()  # noqa: S310 (this machine)
        self.client("s3", **_FIRST).create_bucket(Bucket=BUCKET)
        users = self.client("iam", **_FIRST)
        users.create_user(UserName="user")
        key = users.create_access_key(UserName="user")["AccessKey"]
        statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        users.put_user_policy(UserName="user", PolicyName="all", PolicyDocument=policy)
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        ActionAuthenticatorMixin.request_count = 0
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def close(self) -> None:
        """Stop the server, and forget its user."""
        from moto import settings

        settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
        self._server.shutdown()
        self._server.server_close()

    def objects(self) -> dict[str, bytes]:
        """Return the objects of the bucket by key."""
        client = self.client("s3")
        entries = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {
            entry["Key"]: client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
            for entry in entries
        }

    def damage(self, content: bytes) -> str:
        """Change a byte of the object that begins with this content; return its MD5."""
        key, data = next(item for item in self.objects().items() if item[1].startswith(content))
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=bytes([data[0] ^ 1]) + data[1:])
        return "".join(key.split("/")[-2:])

    def delete(self, md5: str) -> None:
        """Delete the object of a hash."""
        self.client("s3").delete_object(
            Bucket=BUCKET, Key=f"{PREFIX}/files/md5/{md5[:2]}/{md5[2:]}"
        )


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Yield a server that runs in a thread of this process."""
    server = S3Server()
    try:
        yield server
    finally:
        server.close()


def add_remote(project: Path, server: S3Server) -> None:
    """Make the bucket the default remote of a project, as docs/sharing.md says, and commit that."""
    run(project, "dvc", "remote", "add", "--quiet", "--default", REMOTE, f"s3://{BUCKET}/{PREFIX}")
    for key, value in (("verify", "true"), ("endpointurl", server.url), ("region", "us-east-1")):
        run(project, "dvc", "remote", "modify", REMOTE, key, value)
    commit(project, "a remote")
