"""Every answer of a store ends in the right remedy: walked row by row."""

import ast
import inspect
from pathlib import Path

import pytest
from botocore import exceptions as botocore
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from exporters.sinks import remedies
from exporters.sinks.remedies import CHANGE, CHANGE_ROLE, FAILURES, WAIT, translated
from pipeline.errors import Problem, Refused, Unavailable

PLACE = "s3://bucket/prefix"


def answer(code, status=400, operation="PutObject", headers=None, **more):
    return ClientError(
        {
            "Error": {"Code": code, "Message": "AKIASECRET quoted", **more},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}},
        },
        operation,
    )


@pytest.mark.parametrize("code", CHANGE)
def test_what_must_be_changed_is_refused_with_what_to_do(code):
    problem = translated(answer(code), PLACE)
    assert type(problem) is Refused
    assert str(problem).startswith(f"{PLACE}: {code} (400) at PutObject; ")
    assert "{" not in str(problem)
    assert "quoted" not in str(problem)


@pytest.mark.parametrize("code", CHANGE_ROLE)
def test_what_must_be_changed_about_a_role_says_so(code):
    problem = translated(answer(code, operation="AssumeRole"), PLACE)
    assert type(problem) is Refused
    assert CHANGE_ROLE[code] in str(problem)


@pytest.mark.parametrize("operation", ["PutObject", "AssumeRole"])
@pytest.mark.parametrize("code", WAIT)
def test_what_will_pass_is_waited_for(code, operation):
    problem = translated(answer(code, 503, operation), PLACE)
    assert type(problem) is Unavailable
    assert problem.retry_after_seconds == WAIT[code]


@pytest.mark.parametrize(
    ("code", "status", "kind", "word"),
    [
        ("RequestTimeTooSkewed", 403, Refused, "clock"),
        ("PermanentRedirect", 301, Refused, "region"),
        ("AuthorizationHeaderMalformed", 400, Refused, "region"),
        ("ExpiredToken", 400, Refused, "expired"),
        ("AccessDenied", 403, Refused, "s3:PutObject"),
        ("403", 403, Refused, "s3:PutObject"),
        ("NoSuchBucket", 404, Refused, "bucket"),
        ("KMS.DisabledException", 400, Refused, "kms_key"),
        ("ConditionalRequestConflict", 409, Unavailable, "trying again"),
        ("OperationAborted", 409, Unavailable, "trying again"),
        ("SlowDown", 503, Unavailable, "trying again"),
        ("TooManyRequests", 429, Unavailable, "trying again"),
        ("RequestTimeout", 400, Unavailable, "trying again"),
        ("InternalError", 500, Unavailable, "trying again"),
        ("SomethingNobodyHasSeen", 403, Unavailable, "trying again"),
        ("SomethingNobodyHasSeen", 418, Unavailable, "trying again"),
        ("", 502, Unavailable, "trying again"),
    ],
)
def test_the_answers_that_matter_end_in_the_right_one(code, status, kind, word):
    problem = translated(answer(code, status), PLACE)
    assert type(problem) is kind
    assert word in str(problem)


def test_the_region_that_the_store_names_is_passed_on():
    assert "eu-west-1" in str(translated(answer("AuthorizationHeaderMalformed", Region="eu-west-1"), PLACE))
    moved = answer("PermanentRedirect", 301, headers={"x-amz-bucket-region": "eu-north-1"})
    assert "eu-north-1" in str(translated(moved, PLACE))


@pytest.mark.parametrize(("said", "seconds"), [("30", 30), ("600", 60), ("Wed, 21 Oct 2026 07:28:00 GMT", 5), ("1", 5)])
def test_a_store_that_says_when_to_come_back_is_believed_up_to_a_minute(said, seconds):
    problem = translated(answer("SlowDown", 503, headers={"retry-after": said}), PLACE)
    assert problem.retry_after_seconds == seconds


def test_no_row_stands_in_two_tables():
    assert set(CHANGE) & set(WAIT) == set()
    assert set(CHANGE_ROLE) & set(WAIT) == set()


def test_every_error_of_the_library_has_a_row():
    classes = [
        c for _, c in inspect.getmembers(botocore, inspect.isclass) if issubclass(c, Exception) and c is not ClientError
    ]
    ours = [c for c in classes if c.__module__ == "botocore.exceptions" and not issubclass(c, Warning)]
    without = [c.__name__ for c in (*ours, ResponseParserError) if not any(issubclass(c, row.kind) for row in FAILURES)]
    # Raised while a program is written or a paginator is built, never by a request.
    assert set(without) <= {"ClientError", "ValidationError", "RangeError", "UnknownKeyError"} | {
        c.__name__ for c in ours if issubclass(c, ClientError) or not issubclass(c, botocore.BotoCoreError)
    }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (botocore.EndpointConnectionError(endpoint_url="http://x"), Unavailable),
        (botocore.ConnectionClosedError(endpoint_url="http://x"), Unavailable),
        (botocore.ReadTimeoutError(endpoint_url="http://x"), Unavailable),
        (botocore.ConnectTimeoutError(endpoint_url="http://x"), Unavailable),
        (botocore.ProxyConnectionError(proxy_url="http://x"), Unavailable),
        (botocore.ResponseStreamingError(error="cut"), Unavailable),
        (botocore.IncompleteReadError(actual_bytes=1, expected_bytes=2), Unavailable),
        (botocore.CredentialRetrievalError(provider="x", error_msg="y"), Unavailable),
        (botocore.SSLError(endpoint_url="https://x", error="EOF occurred"), Unavailable),
        (botocore.SSLError(endpoint_url="https://x", error="[SSL: CERTIFICATE_VERIFY_FAILED]"), Refused),
        (botocore.NoCredentialsError(), Refused),
        (botocore.PartialCredentialsError(provider="x", cred_var="y"), Refused),
        (botocore.ParamValidationError(report="x"), Refused),
        (ResponseParserError("cut"), Unavailable),
    ],
)
def test_failures_before_any_answer_end_in_the_right_one(error, kind):
    assert type(translated(error, PLACE)) is kind


def test_a_problem_of_ours_stays_what_it_is():
    own = Refused("as it was")
    assert translated(own, PLACE) is own


def test_a_bug_stays_a_bug():
    with pytest.raises(ZeroDivisionError):
        translated(ZeroDivisionError(), PLACE)


def test_only_these_two_remedies_leave_the_room():
    source = Path(remedies.__file__).read_text()
    made = {n.func.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert made & {c.__name__ for c in Problem.__subclasses__()} == {"Refused", "Unavailable"}
