"""Secrets are removed from text, and text without secrets stays unchanged."""

import pytest

from service.domain.texts import redact_secrets
from service.identity.keys.model import format_key, new_key_id, new_secret
from service.webhooks.model import new_webhook_secret

SECRET = new_secret()
KEY = format_key(new_key_id(), SECRET)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {KEY} is unknown", SECRET),
        (f"{{'Authorization': 'Bearer {KEY[:60]}'}}", SECRET[:20]),
        ("authorization: bearer eyJhbGciOi.J9-abc_def", "eyJhbGciOi"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
        (f'{{"secret": "{(webhook_secret := new_webhook_secret())}"}}', webhook_secret[6:]),
        ("connect to postgresql://results:s3cr%2Fet@db:5432/results failed", "s3cr"),
        ("postgresql://a:s3cr@et@db/x", "s3cr"),
        ("URL('redis://:s3cret@cache/0')", "s3cret"),
        ('{"url": "amqp://guest:s3cret@broker//"}', "s3cret"),
        ("postgresql://db/results?user=a&password=s3cret&sslmode=require", "s3cret"),
        ("AWS_SECRET_ACCESS_KEY=wJalr/K7+abc rejected", "wJalr"),
        ('{"secret_access_key": "wJalr/K7+abc", "region": "eu"}', "wJalr"),
        ("S3Config(aws_session_token='FwoGZX/abc==')", "FwoGZX"),
        ("RESULTS_SECRET_KEYS=kTbz1s-abc=,old", "kTbz1s"),
        ("https://bucket.s3.example.com/a?X-Amz-Signature=0123abcd&X-Amz-Expires=60", "0123abcd"),
    ],
    ids=map(str, range(15)),  # the secrets are random, and the processes of pytest-xdist must collect equal IDs
)
def test_secret_is_removed(text: str, secret: str) -> None:
    assert secret in text
    redacted = redact_secrets(text)
    assert secret not in redacted
    assert "[redacted]" in redacted


def test_rest_of_the_text_stays() -> None:
    text = f'{{"error": "amqp://guest:s3cret@broker/vhost rejected {KEY}", "delay_s": 1.5}}'
    key_id = KEY.split("_")[1]
    assert redact_secrets(text) == (
        f'{{"error": "amqp://guest:[redacted]@broker/vhost rejected zof_{key_id}_[redacted]", "delay_s": 1.5}}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "GET http://127.0.0.1:8080/v1/runs?email=a@b.example", "a basic check failed", "webhook whk_0123 is disabled",
        "the bearer of a bad report", '{"at": "2026-05-20T12:00:00Z", "host": "db:5432"}', "zof_results consume",
        "RESULTS_SECRET_KEYS: is required",
    ],
)  # fmt: skip
def test_text_without_secrets_stays_unchanged(text: str) -> None:
    assert redact_secrets(text) == text
