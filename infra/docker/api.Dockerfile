# The API, the dispatcher, migrations and the commands of an operator. No torch, no engine.
#   docker build -f infra/docker/api.Dockerfile -t kinema-api:0.1.0 .

FROM python:3.11.14-slim-bookworm AS install
ARG UV_VERSION=0.13.9
ENV UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 VIRTUAL_ENV=/venv
RUN pip install --no-cache-dir "uv==${UV_VERSION}" && uv venv "${VIRTUAL_ENV}"
WORKDIR /app
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/var/cache/uv \
    uv pip install -r pyproject.toml -c constraints.txt

FROM install AS source
COPY models.toml ./
COPY domain domain
COPY storage storage
COPY moderation moderation
COPY runtime runtime
COPY migrations migrations
COPY worker worker
COPY api api
COPY cli cli
RUN python -m compileall -q /app

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin kinema
COPY infra/docker/kinema /usr/local/bin/kinema
COPY --from=install /venv /venv
COPY --from=source /app /app
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["kinema", "health", "api"]
CMD ["kinema", "serve", "api"]
