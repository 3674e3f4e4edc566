"""Objects over 16 MiB go in parts; they appear when the last step is answered, on the same condition as small ones."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from exporters.sinks.sink import Document
from pipeline.errors import Unavailable

MIB = 1 << 20
PART_BYTES = 16 * MIB
MOST_PARTS = 10_000  # the vendor's limit


def part_bytes(size: int) -> int:
    """The size of every part but the last, in whole MiB: 16, or as many as the largest number of parts asks for."""
    return max(PART_BYTES, -(-size // MOST_PARTS // MIB) * MIB)


def store(
    client: Any, document: Document, bucket: dict[str, str], about: dict[str, Any], condition: dict[str, str]
) -> None:
    """Upload in parts.  What fails half-way is given up, so that nobody pays for parts of nothing."""
    target = {**bucket, "Key": about["Key"]}
    upload = whole(client.create_multipart_upload(**bucket, **about, ChecksumAlgorithm="SHA256"), "UploadId")
    try:
        parts = []
        for number, piece in enumerate(document.pieces(part_bytes(document.size)), 1):
            checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode()
            sent = client.upload_part(**target, UploadId=upload, PartNumber=number, Body=piece, ChecksumSHA256=checksum)
            parts.append({"PartNumber": number, "ETag": whole(sent, "ETag"), "ChecksumSHA256": checksum})
        done = client.complete_multipart_upload(
            **target, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
        )
        whole(done, "ETag")
    except BaseException:
        give_up(client, target, upload)
        raise


def whole(answer: dict[str, Any], name: str) -> str:
    """A value that every whole answer has: its head may have been cut off behind the first line.  Raises Unavailable."""
    if not (value := answer.get(name)):
        raise Unavailable(f"the store's answer was cut off: no {name} in it; trying again")
    return str(value)


def give_up(client: Any, target: dict[str, str], upload: str) -> None:
    """Free the parts of an upload, if that is permitted; the bucket's own rule for unfinished uploads is the second net."""
    try:
        client.abort_multipart_upload(**target, UploadId=upload)
    except Exception:  # noqa: S110 - the first failure is the one to report
        pass


def sweep(client: Any, bucket: dict[str, str], key: str) -> None:
    """Give up every open upload of exactly this key.  Raises what the client raises."""
    page = client.list_multipart_uploads(**bucket, Prefix=key)
    for upload in page.get("Uploads", ()):
        if upload["Key"] == key:
            give_up(client, {**bucket, "Key": key}, upload["UploadId"])
