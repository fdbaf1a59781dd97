"""Settings, read once from the environment (RESULTS_…) at the top of each process and handed down from there."""

import re
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.contracts.validation import describe_error, validation_errors
from service.domain.deliveries import DeliveryPolicy
from service.domain.errors import ServiceError

_RATE: Final = re.compile(r"off|[1-9]\d{0,8} ?/ ?(second|minute|hour|day)")
_DELIVERIES: Final = DeliveryPolicy()  # the defaults
_MAX_RETRIES: Final = 50
_MAX_RETRY_DELAY_S: Final = 30 * 24 * 3600  # the retention of events


def _begins_with(*schemes: str) -> AfterValidator:
    wanted = tuple(f"{scheme}://" for scheme in schemes)

    def check(url: str) -> str:
        if not url.startswith(wanted) or url in wanted:
            raise ValueError(f"must begin with {' or '.join(wanted)}")
        _check_ports(url)
        return url

    return AfterValidator(check)


def _check_ports(url: str) -> None:
    """What is no number there is most often the rest of a password."""
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    try:
        _ = [urlsplit(f"//{host}").port for host in hosts]
    except ValueError:
        raise ValueError("has a port that is none; a password holds / as %2F, @ as %40, # as %23, ? as %3F") from None


def _rate(text: str) -> str:
    if not _RATE.fullmatch(text):
        raise ValueError("must be a number for each second, minute, hour or day, such as 100/second, or off")
    return text


def _delays(value: object) -> object:
    """Parse seconds separated by commas."""
    if not isinstance(value, str):
        return value
    try:
        delays_s = tuple(float(part) for part in value.split(","))
    except ValueError:
        delays_s = ()
    if not 1 <= len(delays_s) <= _MAX_RETRIES or not all(0 <= delay_s <= _MAX_RETRY_DELAY_S for delay_s in delays_s):
        raise ValueError(f"must be 1 to {_MAX_RETRIES} delays in seconds, separated by commas, such as 5,300,1800")
    return delays_s


DatabaseUrl = Annotated[str, _begins_with("postgresql", "postgres")]
BrokerUrl = Annotated[str, _begins_with("amqp", "amqps")]
FilesUrl = Annotated[str, _begins_with("file", "s3")]
RedisUrl = Annotated[str, _begins_with("redis", "rediss")]
WebUrl = Annotated[str, _begins_with("https", "http")]
RateLimit = Annotated[str, AfterValidator(_rate)]
RetryDelays = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_delays)]


class Settings(BaseSettings):
    """Every setting, with its default for one machine."""

    model_config = SettingsConfigDict(env_prefix="RESULTS_", frozen=True, env_ignore_empty=True)

    database_url: DatabaseUrl | None = Field(
        None, description="PostgreSQL 15 to 18, postgresql://user:password@host/name"
    )
    database_read_url: DatabaseUrl | None = Field(None, description="A replica that serves the lists")
    database_pool_size: int = Field(10, ge=1, le=200, description="Connections that one process may open")
    amqp_url: BrokerUrl | None = Field(None, description="RabbitMQ 4, amqp://user:password@host/vhost")
    queue_prefix: str = Field("", max_length=100, description="Stands before every exchange and queue name")
    artifacts_url: FilesUrl | None = Field(None, description="Files: file:///folder or s3://bucket/prefix (with AWS_…)")
    artifacts_redirect: bool = Field(False, description="Answer downloads with a redirect into S3, presigned")
    http_host: str = Field("127.0.0.1", description="Where the API listens")
    http_port: int = Field(8080, ge=0, le=65535, description="0 takes any free port")
    metrics_port: int | None = Field(None, ge=1, le=65535, description="Where a consumer process answers /metrics")
    public_url: WebUrl | None = Field(None, description="What links start with, by default the address it listens on")
    dev_dir: Path = Field(Path(".dev"), description="State of the local stack")
    rate_limit: RateLimit = Field("6000/minute", description="Requests of one key, such as 100/second, or off")
    rate_limit_organization: RateLimit = Field("off", description="Requests of one organization with all its keys")
    rate_limit_url: RedisUrl | None = Field(
        None, description="redis://… or rediss://…, in which all processes count; else each counts for itself"
    )
    cors_origins: str = Field("", description="Origins whose scripts may read answers, with commas between; none")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    retention_days: int = Field(3653, ge=1, description="How long results are kept, from their completion")
    consumer_lanes: int = Field(2, ge=1, le=16, description="Batches that one runs consumer works on at a time")
    export_slots: int = Field(2, ge=1, le=32, description="Exports that one consumer works on at a time")
    exports_per_organization: int = Field(2, ge=1, le=100, description="Exports of one organization at a time")
    report_slots: int = Field(2, ge=1, le=4, description="Reports that one consumer reads at a time")
    report_max_bytes: int = Field(256 * 2**20, ge=1, description="Of one upload of a report, as it is sent")
    report_max_unpacked_bytes: int = Field(2 * 2**30, ge=1, description="Of one report when it is decompressed")
    artifact_max_bytes: int = Field(2**30, ge=1, description="Of one uploaded artifact")
    webhook_allow_loopback: bool = Field(False, description="For development: webhooks may go to this machine, by HTTP")
    webhook_concurrency: int = Field(
        _DELIVERIES.max_concurrency, ge=1, le=500, description="Maximum concurrent posts to one endpoint per process"
    )
    webhook_retry_delays_s: RetryDelays = Field(
        _DELIVERIES.retry_delays_s, description="Seconds before each retry of a delivery, separated by commas, ±20 %"
    )
    webhook_attempt_timeout_s: float = Field(
        _DELIVERIES.attempt_timeout_s, ge=1, le=60, description="Maximum duration of one delivery attempt"
    )
    webhook_breaker_failures: int = Field(
        _DELIVERIES.breaker_failures, ge=1, le=1000, description="Consecutive failures that pause an endpoint"
    )
    webhook_breaker_min_pause_s: float = Field(
        _DELIVERIES.breaker_min_pause_s, ge=1, le=3600, description="Shortest pause of a failing endpoint"
    )
    webhook_breaker_max_pause_s: float = Field(
        _DELIVERIES.breaker_max_pause_s, ge=1, le=86400, description="Longest pause of a failing endpoint"
    )
    webhook_disable_after_days: float = Field(
        _DELIVERIES.disable_after_days, gt=0, le=30, description="Days of failures after which a webhook is disabled"
    )

    @cached_property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of `cors_origins`."""
        return frozenset(origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def delivery_policy(self) -> DeliveryPolicy:
        """The retry schedule and the circuit breaker of webhook deliveries."""
        return DeliveryPolicy(
            retry_delays_s=self.webhook_retry_delays_s,
            attempt_timeout_s=self.webhook_attempt_timeout_s,
            max_concurrency=self.webhook_concurrency,
            breaker_failures=self.webhook_breaker_failures,
            breaker_min_pause_s=self.webhook_breaker_min_pause_s,
            breaker_max_pause_s=self.webhook_breaker_max_pause_s,
            disable_after_days=self.webhook_disable_after_days,
        )

    @property
    def retention(self) -> timedelta:
        """How long results are kept."""
        return timedelta(days=self.retention_days)

    @property
    def storage_url(self) -> str:
        """Where files are, by default beside the rest of the local stack."""
        return self.artifacts_url or (self.dev_dir.absolute() / "artifacts").as_uri()

    @property
    def link_base(self) -> str:
        """What absolute links start with, without a slash at the end."""
        return (self.public_url or f"http://{self.http_host}:{self.http_port}").rstrip("/")


class WrongSettings(ServiceError):
    """A setting that is no use as it is."""


def read_settings() -> Settings:
    """The settings of this process. Raises WrongSettings, which names each that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = (
            f"RESULTS_{str(fault['loc'][0]).upper()}: {describe_error(fault)}" for fault in validation_errors(error)
        )
        raise WrongSettings("; ".join(wrong)) from error
