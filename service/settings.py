"""Settings from environment variables with the prefix RESULTS_, or from files, read once when a process starts."""

import os
from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from service.artifacts.model import (
    DEFAULT_BYTES_PER_DAY,
    DEFAULT_FILES_PER_DAY,
    DEFAULT_UNTRUSTED_BYTES_PER_DAY,
    DEFAULT_UNTRUSTED_FILES_PER_DAY,
    ArtifactLimits,
)
from service.contracts.validation import describe_error, validation_errors
from service.database.engines import EngineName
from service.domain.addresses import AllowedAddresses
from service.domain.bucket_keys import BucketKey
from service.domain.errors import ServiceError
from service.identity.members.sign_ins import OidcClient
from service.identity.producers.model import ProducerIdentity
from service.reports.model import ReportLimits
from service.results.model import MAX_EVENT_ROWS
from service.retention.model import RetentionPolicy
from service.setting_values import (
    BrokerUrl,
    DatabaseUrl,
    FilesUrl,
    Networks,
    PrimaryUrl,
    RateLimit,
    RedisUrl,
    RetryDelays,
    Scopes,
    WebUrl,
)
from service.tasks.model import EventSizes
from service.webhooks.model import DeliveryPolicy

_PREFIX: Final = "RESULTS_"
_SECRETS_DIR: Final = "RESULTS_SECRETS_DIR"
# Variables with the prefix that aren't settings of the server: those of the client, of CI jobs, and of the tests.
_OTHER_VARIABLES: Final = frozenset({"URL", "API_KEY", "PROJECT", "CLIENT_SHA256", "ID_TOKEN", "ORGANIZATION"})
_TEST_VARIABLES: Final = "TEST_"
_DELIVERIES: Final = DeliveryPolicy()  # the defaults
_REPORTS: Final = ReportLimits()


class Settings(BaseSettings):
    """All settings. The defaults suit one machine."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, env_ignore_empty=True)

    database_url: PrimaryUrl | None = Field(
        None,
        description="PostgreSQL 15 to 18: postgresql://user:password@host/name, or with a standby "
        "postgresql://user:password@host1,host2/name?target_session_attrs=read-write",
    )
    database_engine: EngineName = Field(
        "postgresql",
        description="`postgresql`, or `citus` for the coordinator of a cluster with distributed tables",
    )
    database_read_url: DatabaseUrl | None = Field(None, description="Read replica for lists")
    database_pool_size: int = Field(10, ge=1, le=200, description="Maximum number of database connections per process")
    amqp_url: BrokerUrl | None = Field(
        None, description="RabbitMQ 4: amqp://user:password@host/vhost, or with several nodes host1,host2,host3"
    )
    queue_prefix: str = Field("", max_length=100, description="Prefix of every exchange and queue name")
    artifacts_url: FilesUrl | None = Field(
        None, description="Object storage: file:///folder or s3://bucket/prefix (with AWS_… variables)"
    )
    artifacts_access_key_id: SecretStr | None = Field(
        None, description="Access key of the S3 bucket; default: AWS_… variables or the identity of the machine"
    )
    artifacts_secret_access_key: SecretStr | None = Field(
        None, validate_default=True, description="Secret of this access key"
    )
    artifacts_redirect: bool = Field(False, description="Redirect downloads to presigned S3 URLs")
    http_host: str = Field("127.0.0.1", description="Address that the API listens on")
    http_port: int = Field(8080, ge=0, le=65535, description="Port that the API listens on; 0 selects a free port")
    http_max_connections: int = Field(
        4000, ge=1, le=60_000, description="Maximum number of open connections of an API process, plus 32 for probes"
    )
    metrics_port: int | None = Field(None, ge=1, le=65535, description="Port of /metrics of a consumer process")
    public_url: WebUrl | None = Field(None, description="Start of every link; default: the address of the API")
    oidc_issuer: WebUrl | None = Field(
        None,
        description="Provider of the sign-in to the console with OpenID Connect, such as https://login.example.org/realms/main;"
        " needs RESULTS_PUBLIC_URL",
    )
    oidc_client_id: str | None = Field(None, description="ID of the console as a client of this provider")
    oidc_client_secret: SecretStr | None = Field(None, validate_default=True, description="Secret of this client")
    oidc_scopes: Scopes = Field(
        "openid email profile", description="Scopes that the sign-in requests, such as `openid email profile groups`"
    )
    oidc_groups_claim: str = Field(
        "groups", min_length=1, max_length=200, description="Claim with the groups of a person, as a list of texts"
    )
    schema_wait_s: float = Field(
        60, ge=0, le=3600, description="Seconds that a starting process waits until the schema is applied"
    )
    secrets_dir: Path | None = Field(
        None,
        description="Folder with a file for each setting that isn't a variable, such as results_database_url; for "
        "secrets of Docker and Kubernetes",
    )
    dev_dir: Path = Field(Path(".dev"), description="Directory for the state of the local stack")
    rate_limit: RateLimit = Field(
        "6000/minute", description="Maximum number of requests per key, such as 100/second, or off"
    )
    rate_limit_organization: RateLimit = Field(
        "off", description="Maximum number of requests per organization with all of its keys, or off"
    )
    rate_limit_url: RedisUrl | None = Field(
        None, description="Redis for rate limits shared by all processes: redis://… or rediss://…; default: per process"
    )
    uploads_per_key: int = Field(
        16, ge=1, le=1000, description="Concurrent uploads of one API key per process; each needs up to 8 MiB of memory"
    )
    streams_per_key: int = Field(
        200, ge=1, le=10_000, description="Concurrent event streams of one API key per process"
    )
    waits_per_key: int = Field(
        500, ge=1, le=10_000, description="Concurrent long-polling requests of one API key per process"
    )
    cors_origins: str = Field(
        "", description="Origins whose scripts can read responses, separated by commas; default: none"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum level of log messages")
    access_log: bool = Field(
        False, description="Log each request: method, path, status, duration, request ID, key, and organization"
    )
    retention_days: int = Field(3653, ge=1, description="Days to keep results after the completion of their run")
    artifact_retention_days: int | None = Field(
        None, ge=1, description="Days to keep artifacts; default: as long as results; at most RESULTS_RETENTION_DAYS"
    )
    run_retention_days: int | None = Field(
        None, ge=1, description="Days to keep runs; default: indefinitely; at least RESULTS_RETENTION_DAYS"
    )
    retention_grace_days: int = Field(
        7, ge=0, le=365, description="Days to wait before an expired month is removed, to fix a wrong setting"
    )
    consumer_channels: int = Field(
        3, ge=1, le=16, description="Batches that a consumer with the role `runs` stores concurrently"
    )
    event_sizes: EventSizes = Field(
        "all",
        description="Events that a consumer with the role `runs` stores: `all`, `small` (at most 256 KiB), or `large`; "
        "with a process for each size, large events use no CPU time of the process of small ones",
    )
    producer_identity: ProducerIdentity = Field(
        "optional",
        description="Events that a consumer with the role `runs` accepts: `required` only those of RabbitMQ users that"
        " are registered for the organization (`producers add`); `optional` also those of users without a registration",
    )
    export_slots: int = Field(2, ge=1, le=32, description="Exports that a consumer process runs concurrently")
    exports_per_organization: int = Field(
        1, ge=1, le=100, description="Exports of one organization that run concurrently"
    )
    report_slots: int = Field(
        2, ge=1, le=4, description="Reports of one organization that a consumer process reads concurrently; it has one"
        " more slot for other organizations",
    )  # fmt: skip
    report_max_bytes: int = Field(
        256 * 2**20, ge=1, description="Maximum size of an uploaded report in bytes, before decompression"
    )
    report_max_unpacked_bytes: int = Field(
        _REPORTS.max_unpacked_bytes, ge=1, description="Maximum size of a report in bytes, after decompression"
    )
    report_max_results: int = Field(
        _REPORTS.max_rows, ge=1, description="Maximum number of results, listed attempts, and artifacts of a report"
    )
    report_max_memory_bytes: int = Field(
        _REPORTS.max_memory_bytes, ge=2**28,
        description="Maximum memory of a process that parses a report, in bytes; at most 512 MiB for untrusted runs",
    )  # fmt: skip
    event_max_results: int = Field(
        MAX_EVENT_ROWS, ge=1, description="Maximum number of results, listed attempts, and artifacts of an event"
    )
    artifact_max_bytes: int = Field(2**30, ge=1, description="Maximum size of an uploaded artifact in bytes")
    artifact_files_per_day: int = Field(
        DEFAULT_FILES_PER_DAY, ge=1,
        description="Maximum number of artifacts that a key or trusted publisher uploads per day in UTC",
    )  # fmt: skip
    artifact_bytes_per_day: int = Field(
        DEFAULT_BYTES_PER_DAY, ge=1,
        description="Maximum bytes of artifacts that a key or trusted publisher uploads per day in UTC",
    )  # fmt: skip
    untrusted_files_per_day: int = Field(
        DEFAULT_UNTRUSTED_FILES_PER_DAY, ge=1,
        description="Maximum number of reports and files of untrusted runs of a project per day in UTC",
    )  # fmt: skip
    untrusted_bytes_per_day: int = Field(
        DEFAULT_UNTRUSTED_BYTES_PER_DAY, ge=1,
        description="Maximum bytes of reports and files of untrusted runs of a project per day in UTC",
    )  # fmt: skip
    secret_keys: SecretStr | None = Field(
        None,
        description="Keys that encrypt stored webhook secrets, separated by commas: the first encrypts, all decrypt",
    )
    secret_keys_file: Path | None = Field(None, description="File with one such key per line, instead of the variable")
    issuer_allow_loopback: bool = Field(
        False, description="Allow issuers of ID tokens at loopback addresses over HTTP, for development"
    )
    issuer_networks: Networks = Field(
        (),
        description="Private networks with permitted issuers of ID tokens, separated by commas, such as"
        " 10.1.0.0/16,fd12::/48; default: only public addresses",
    )
    webhooks_per_organization: int = Field(
        100, ge=1, le=10_000, description="Maximum number of webhooks of one organization"
    )
    webhook_allow_loopback: bool = Field(
        False, description="Allow webhooks to loopback addresses over HTTP, for development"
    )
    webhook_networks: Networks = Field(
        (),
        description="Private networks with permitted webhook addresses, separated by commas, such as"
        " 10.1.0.0/16,fd12::/48; default: only public addresses",
    )
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

    @classmethod
    def settings_customise_sources(  # codespell:ignore customise
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 the signature of the base class
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read variables first, and then the files in the folder that a variable names."""
        folder = _secrets_folder()
        files = [SecretsSettingsSource(settings_cls, folder)] if folder else []
        return (init_settings, env_settings, *files)

    @field_validator("artifacts_secret_access_key")
    @classmethod
    def _check_access_key(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Raise ValueError unless the ID and the secret of the access key are set together."""
        has_id = info.data.get("artifacts_access_key_id") is not None
        if has_id == (secret is None):
            raise ValueError("must be set together with RESULTS_ARTIFACTS_ACCESS_KEY_ID")
        return secret

    @field_validator("oidc_client_secret")
    @classmethod
    def _check_oidc(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Raise ValueError, which names what is missing, unless all settings of the sign-in are set, or none."""
        values = {f"{_PREFIX}{name.upper()}": info.data.get(name) for name in ("oidc_issuer", "oidc_client_id")}
        values["RESULTS_OIDC_CLIENT_SECRET"] = secret
        missing = [name for name, value in values.items() if not value]
        if 0 < len(missing) < len(values):
            raise ValueError(f"sign-in with OpenID Connect also needs {' and '.join(missing)}")
        if not missing and info.data.get("public_url") is None:
            raise ValueError("sign-in with OpenID Connect also needs RESULTS_PUBLIC_URL")
        return secret

    @field_validator("artifact_retention_days", "run_retention_days")
    @classmethod
    def _check_order_of_retention(cls, days: int | None, info: ValidationInfo) -> int | None:
        """Raise ValueError if artifacts expire after their results, or runs before their results."""
        results_days = info.data.get("retention_days")  # missing if it's invalid itself
        if days is None or results_days is None:
            return days
        if info.field_name == "artifact_retention_days" and days > results_days:
            raise ValueError(f"must be at most RESULTS_RETENTION_DAYS ({results_days})")
        if info.field_name == "run_retention_days" and days < results_days:
            raise ValueError(f"must be at least RESULTS_RETENTION_DAYS ({results_days})")
        return days

    @property
    def oidc_client(self) -> OidcClient | None:
        """The client with which people sign in to the console, or None if they sign in only with keys."""
        issuer, client_id, secret = self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret
        if not (issuer and client_id and secret):
            return None
        redirect_uri = f"{self.link_base}/console/sign-in/callback"
        return OidcClient(
            issuer, client_id, secret.get_secret_value(), redirect_uri, self.oidc_scopes, self.oidc_groups_claim
        )

    @cached_property
    def allowed_origins(self) -> frozenset[str]:
        """The origins in `cors_origins`."""
        return frozenset(origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def webhook_addresses(self) -> AllowedAddresses:
        """The addresses to which webhooks are sent."""
        return AllowedAddresses(self.webhook_allow_loopback, self.webhook_networks)

    @property
    def issuer_addresses(self) -> AllowedAddresses:
        """The addresses of the issuers of ID tokens."""
        return AllowedAddresses(self.issuer_allow_loopback, self.issuer_networks)

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
    def report_limits(self) -> ReportLimits:
        """The limits of one uploaded report."""
        return ReportLimits(self.report_max_unpacked_bytes, self.report_max_results, self.report_max_memory_bytes)

    @property
    def artifact_limits(self) -> ArtifactLimits:
        """The limits of the artifacts that a key uploads per day."""
        return ArtifactLimits(self.artifact_files_per_day, self.artifact_bytes_per_day)

    @property
    def untrusted_limits(self) -> ArtifactLimits:
        """The limits of the reports and files of untrusted runs of a project per day."""
        limits = self.untrusted_files_per_day, self.untrusted_bytes_per_day
        return ArtifactLimits(*limits, "RESULTS_UNTRUSTED", "the untrusted uploads of a project")

    @property
    def retention(self) -> timedelta:
        """The retention of results."""
        return timedelta(days=self.retention_days)

    @property
    def retention_policy(self) -> RetentionPolicy:
        """The retention of artifacts, results, and runs."""
        artifacts_days = self.artifact_retention_days or self.retention_days
        return RetentionPolicy(
            artifacts=timedelta(days=artifacts_days),
            results=self.retention,
            runs=None if self.run_retention_days is None else timedelta(days=self.run_retention_days),
            grace=timedelta(days=self.retention_grace_days),
        )

    @property
    def storage_url(self) -> str:
        """The URL of the object storage. The default is a directory in `dev_dir`."""
        return self.artifacts_url or (self.dev_dir.absolute() / "artifacts").as_uri()

    @property
    def bucket_key(self) -> BucketKey | None:
        """The access key of the bucket, or None if the environment contains it."""
        key_id, secret = self.artifacts_access_key_id, self.artifacts_secret_access_key
        return BucketKey(key_id.get_secret_value(), secret.get_secret_value()) if key_id and secret else None

    @property
    def audience(self) -> str | None:
        """The audience of ID tokens: the public URL without a trailing slash, or None if it isn't set."""
        return self.public_url and self.public_url.rstrip("/")

    @property
    def link_base(self) -> str:
        """The start of every absolute link, without a trailing slash."""
        return (self.public_url or f"http://{self.http_host}:{self.http_port}").rstrip("/")


class InvalidSettings(ServiceError):
    """A setting has an invalid value."""


def read_settings() -> Settings:
    """Return the settings of this process. Raises InvalidSettings, which names every invalid setting."""
    folder = _secrets_folder()
    if folder and not folder.is_dir():
        raise InvalidSettings(f"{_SECRETS_DIR}: {folder} isn't a folder")
    try:
        return Settings()
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise InvalidSettings(f"{_SECRETS_DIR}: can't read the files of {folder}: {error}") from error
    except ValidationError as error:
        messages = (
            f"{_PREFIX}{str(item['loc'][0]).upper()}: {describe_error(item)}" for item in validation_errors(error)
        )
        raise InvalidSettings("; ".join(messages)) from error


def names_in_use() -> list[str]:
    """Return the names of all environment variables and of all files in the folder of secrets."""
    folder = _secrets_folder()
    return [*os.environ, *(file.name for file in folder.glob("*"))] if folder else [*os.environ]


def _secrets_folder() -> Path | None:
    text = os.environ.get(_SECRETS_DIR)
    return Path(text) if text else None


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return a message for each name that has the prefix and isn't a setting, with the nearest setting."""
    settings = {name.upper() for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in map(str.upper, names)
        if name.startswith(_PREFIX)
        and name.removeprefix(_PREFIX) not in settings | _OTHER_VARIABLES
        and not name.startswith(_PREFIX + _TEST_VARIABLES)
    )
    return [f"{name}: unknown setting, ignored{_suggestion(name, settings)}" for name in unknown]


def _suggestion(name: str, settings: Iterable[str]) -> str:
    nearest = get_close_matches(name.removeprefix(_PREFIX), settings, 1)
    return f"; did you mean {_PREFIX}{nearest[0]}?" if nearest else ""
