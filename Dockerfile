# One image for all processes; the command selects the process: api, consume, schema apply, …
FROM python:3.13-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build

# The environment of the final image: locked packages, without those that only a checkout or the local stack needs.
COPY requirements-image.lock ./
RUN python -m venv --without-pip /opt/results \
    && pip --python /opt/results install --require-hashes --requirement requirements-image.lock

# The wheel, with the client archive that the API serves. What its build needs are locked packages too.
COPY requirements.lock ./
RUN pip install --root-user-action ignore --require-hashes --requirement requirements.lock
COPY pyproject.toml LICENSE schema.sql ./
COPY migrations migrations
COPY deploy/prometheus deploy/prometheus
COPY deploy/grafana deploy/grafana
COPY consumers consumers
COPY service service
# The full SHA of the commit, for the wheel and for a label. The build context doesn't contain .git.
ARG ZOF_RESULTS_COMMIT=""
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && pip --python /opt/results install --no-deps --no-index wheels/*.whl


FROM python:3.13-slim-trixie

LABEL org.opencontainers.image.title="zof-results" \
      org.opencontainers.image.description="Results API: stores the results of validation runs and makes them available over HTTP" \
      org.opencontainers.image.version="0.10.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# The base image has no compiled modules. On a read-only file system, each process would compile them again (0.4 s).
RUN python -m compileall -q -x '/(site-packages|test|ensurepip|idlelib|turtledemo)/' /usr/local/lib/python3.13
RUN groupadd --system --gid 10001 results \
    && useradd --system --uid 10001 --gid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin results \
    && install --directory --owner 10001 --group 10001 /data
COPY --from=build /opt/results /opt/results
ARG ZOF_RESULTS_COMMIT=""
LABEL org.opencontainers.image.revision="${ZOF_RESULTS_COMMIT}"

# Numbers, so that Kubernetes can check that the user isn't root.
USER 10001:10001
VOLUME /data
ENV PATH=/opt/results/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    RESULTS_ARTIFACTS_URL=file:///data/artifacts \
    RESULTS_HTTP_HOST=0.0.0.0 \
    RESULTS_HTTP_PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
# For the command `api`. Consumers have no HTTP port unless RESULTS_METRICS_PORT is set, see compose.yaml.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen(f\"http://127.0.0.1:{os.environ['RESULTS_HTTP_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["zof-results"]
CMD ["api"]
