"""What S3 and STS say no with, and what to do about it: one table.  What is not in it is waited for, never dropped and never taken for final.

WAIT: the same request will be answered one day; the row says how soon to ask again.  CHANGE: it will not, until somebody does what the row says.
A 412 is neither: it is a question, which the sink answers itself (`exporters/sinks/s3.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from pipeline.errors import Problem, Refused, Unavailable

ROLE_OPERATIONS = ("AssumeRole", "AssumeRoleWithWebIdentity")
TAKEN = ("PreconditionFailed", "412")
DENIED = ("AccessDenied", "AccessDeniedException", "403")
# A session that has ended is opened anew once before it is believed.
ENDED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired")
UNKNOWN_SECONDS = 2.0

_WRITE = "allow s3:PutObject on {place}/* for these credentials; with a KMS key also kms:GenerateDataKey, for large objects kms:Decrypt"
_KEYS = "these keys are not valid for {place}; give others"
_REGION = "set the target's region to the bucket's{region}"
_BUCKET = "make the bucket, or correct its name, the endpoint or path_style"
_KMS = "correct kms_key, enable that key, or choose another encryption"
_CLOCK = "set this machine's clock (NTP); it differs from the store's by minutes"
_FRESH = "fresh credentials were refused as expired, too; check this machine's clock and who issues them"
_FORM = "the store does not understand this request; check endpoint, encryption and expected_owner"
_TRUST = "let the role trust this identity with this external id (or this token's issuer, audience and subject), and check role_arn"
_SOURCE = "who asks for the role is not known there; check the source keys or the token"

# Code: what to do.  The numbers are what an answer without a body is called.
CHANGE: dict[str, str] = {
    "AccessDenied": _WRITE,
    "AccessDeniedException": _WRITE,
    "AllAccessDisabled": _WRITE,
    "Forbidden": _WRITE,
    "403": _WRITE,
    "AccountProblem": "ask the provider what is wrong with the account",
    "NotSignedUp": "ask the provider what is wrong with the account",
    "InvalidAccessKeyId": _KEYS,
    "XAdminUserNotFound": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "InvalidSecurity": _KEYS,
    "InvalidToken": _KEYS,
    "InvalidClientTokenId": _KEYS,
    "UnrecognizedClientException": _KEYS,
    "401": _KEYS,
    "Unauthorized": _KEYS,
    "ExpiredToken": _FRESH,
    "ExpiredTokenException": _FRESH,
    "TokenRefreshRequired": _FRESH,
    "RequestExpired": _FRESH,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestInTheFuture": _CLOCK,
    "NoSuchBucket": _BUCKET,
    "InvalidBucketName": _BUCKET,
    "404": _BUCKET,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "Redirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "307": _REGION,
    "KMS.NotFoundException": _KMS,
    "KMS.DisabledException": _KMS,
    "KMS.KMSInvalidStateException": _KMS,
    "KMS.InvalidKeyUsageException": _KMS,
    "KMS.InvalidStateException": _KMS,
    "InvalidEncryptionAlgorithmError": _KMS,
    "ServerSideEncryptionConfigurationNotFoundError": _KMS,
    "MethodNotAllowed": _FORM,
    "405": _FORM,
    "NotImplemented": _FORM,
    "501": _FORM,
    "InvalidArgument": _FORM,
    "InvalidRequest": _FORM,
    "MalformedXML": _FORM,
    "400": _FORM,
    "EntityTooLarge": "let less into one object: lower the cut limits",
    "413": "let less into one object: lower the cut limits",
    "KeyTooLongError": "choose a shorter prefix",
    "InvalidObjectState": "let no object lie in an archive under this prefix",
    "QuotaExceeded": "raise the bucket's quota, or make room",
    "XMinioAdminBucketQuotaExceeded": "raise the bucket's quota, or make room",
}

# The same for the request for a role; what is not named here is judged by the table above.
CHANGE_ROLE: dict[str, str] = {
    "AccessDenied": _TRUST,
    "AccessDeniedException": _TRUST,
    "403": _TRUST,
    "NoSuchEntity": _TRUST,
    "InvalidIdentityToken": _TRUST,
    "IDPRejectedClaim": _TRUST,
    "InvalidAuthorizationMessageException": _TRUST,
    "InvalidClientTokenId": _SOURCE,
    "InvalidAccessKeyId": _SOURCE,
    "SignatureDoesNotMatch": _SOURCE,
    "UnrecognizedClientException": _SOURCE,
    "IncompleteSignature": _SOURCE,
    "MissingAuthenticationToken": _SOURCE,
    "RegionDisabledException": "enable STS in this region, or set sts_endpoint",
    "ValidationError": "correct role_arn, external_id or session_seconds",
    "404": "correct sts_endpoint",
}

# Code: seconds until it is worth asking again.
WAIT: dict[str, float] = {
    "SlowDown": 5.0,
    "503 SlowDown": 5.0,
    "TooManyRequests": 5.0,
    "429": 5.0,
    "Throttling": 5.0,
    "ThrottlingException": 5.0,
    "RequestLimitExceeded": 5.0,
    "BandwidthLimitExceeded": 5.0,
    "ServiceUnavailable": 2.0,
    "503": 2.0,
    "502": 2.0,
    "504": 2.0,
    "InternalError": 1.0,
    "500": 1.0,
    "RequestTimeout": 1.0,
    "408": 1.0,
    "OperationAborted": 0.5,
    "ConditionalRequestConflict": 0.5,
    "409": 0.5,
    "NoSuchUpload": 0.5,
    "InvalidPart": 0.5,
    "InvalidPartOrder": 0.5,
    "BadDigest": 0.5,
    "InvalidDigest": 0.5,
    "IncompleteBody": 0.5,
    "XAmzContentSHA256Mismatch": 0.5,
    "XAmzContentChecksumMismatch": 0.5,
    "IDPCommunicationError": 2.0,
    "PreconditionFailed": 0.5,
    "412": 0.5,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A failure of the client library itself, before any answer: its class, and what to do if waiting will not help."""

    kind: type[Exception]
    change: str = ""


# The first that fits counts.
FAILURES = (
    Row(botocore.NoCredentialsError, "give this process credentials: the target names none and the machine has none"),
    Row(botocore.PartialCredentialsError, "give both the key id and its secret"),
    Row(botocore.ParamValidationError, "correct the target: a value of it cannot be sent"),
    Row(botocore.NoRegionError, "set the target's region"),
    Row(botocore.UnauthorizedSSOTokenError, "sign in again with the vendor's own command"),
    Row(botocore.UnknownEndpointError, "correct the target's region or endpoint"),
    Row(botocore.InvalidEndpointConfigurationError, "correct the target's endpoint"),
    Row(botocore.EndpointProviderError, "correct the target's bucket, region or endpoint"),
    Row(botocore.HTTPClientError),
    Row(botocore.EndpointConnectionError),
    Row(botocore.ResponseStreamingError),
    Row(botocore.IncompleteReadError),
    Row(botocore.ChecksumError),
    Row(botocore.FlexibleChecksumError),
    Row(botocore.CredentialRetrievalError),
    Row(botocore.MetadataRetrievalError),
    Row(botocore.TokenRetrievalError),
    Row(ResponseParserError),
    Row(botocore.BotoCoreError),
)
CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


def code_of(error: Exception) -> str:
    """The code of an answer, empty if there was none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, botocore.ClientError) else ""


def is_taken(error: Exception) -> bool:
    """Whether the answer is that something lies under the key."""
    return code_of(error) in TAKEN or status_of(error) == 412


def status_of(error: Exception) -> int:
    if not isinstance(error, botocore.ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_about_signing(error: Exception) -> bool:
    """Whether the answer is about who asks, not about what is asked for."""
    if isinstance(error, botocore.NoCredentialsError | botocore.PartialCredentialsError | Problem):
        return True  # our own say that a file, a token or a role is not as it must be
    return CHANGE.get(code_of(error)) in (_KEYS, _FRESH, _CLOCK, _REGION)


def translated(error: Exception, place: str) -> Problem:
    """The remedy of a failed request.  Nothing of what the store wrote is repeated but its code: it may quote keys."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, botocore.ClientError):
        return _answered(error, place)
    said = f"{place}: {type(error).__name__}"
    if isinstance(error, botocore.SSLError) and CERTIFICATE in str(error):
        return Refused(
            f"{said}; the store's certificate is not trusted here; correct the endpoint or install its authority"
        )
    for row in FAILURES:
        if isinstance(error, row.kind):
            if row.change:
                return Refused(f"{said}; {row.change}")
            return Unavailable(f"{said}; trying again", retry_after_seconds=UNKNOWN_SECONDS)
    raise error


def _answered(error: botocore.ClientError, place: str) -> Problem:
    code, operation = code_of(error), error.operation_name
    role = operation in ROLE_OPERATIONS
    change = (CHANGE_ROLE.get(code) if role else None) or CHANGE.get(code)
    said = f"{place}: {code or 'no code'} ({status_of(error)}) at {operation}"
    if change and code not in WAIT:
        return Refused(f"{said}; {change.format(place=place, region=_region(error.response))}")
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    wait = max(WAIT.get(code, UNKNOWN_SECONDS), _retry_after(headers))
    return Unavailable(f"{said}; trying again", retry_after_seconds=wait)


def _region(response: Mapping[str, Any]) -> str:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    return f", {found}" if found else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds the store asks for; nobody is waited for longer than a minute."""
    value = headers.get("retry-after", "")
    return min(float(value), 60.0) if value.isdecimal() else 0.0
