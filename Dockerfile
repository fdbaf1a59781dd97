# One image for all processes; the command selects the process: api, consume, schema apply, …
FROM python:3.13-slim

WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock

COPY pyproject.toml README.md LICENSE schema.sql ./
COPY migrations migrations
COPY consumers consumers
COPY service service
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -m service.client.archive --quiet \
    && useradd --system --uid 10001 results \
    && install --directory --owner results /data

USER results
VOLUME /data
ENV RESULTS_ARTIFACTS_URL=file:///data/artifacts \
    RESULTS_HTTP_HOST=0.0.0.0 \
    RESULTS_HTTP_PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["zof-results"]
CMD ["api"]
