# The gateway in an image: one process, no shell needed, nothing to build with, nothing to be root for.
#
#   docker build --tag busbar .
#   docker run --read-only --tmpfs /tmp --publish 8080:8080 --env-file keys.env \
#     --volume ./config.yaml:/etc/busbar/config.yaml:ro --volume busbar-state:/var/lib/busbar busbar

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN ["python", "-m", "venv", "--without-pip", "/opt/busbar"]
# First what changes seldom: the dependencies, each as the lock knows it by its hash.
COPY requirements.lock ./
RUN ["pip", "--python", "/opt/busbar/bin/python", "install", "--require-hashes", "--only-binary", ":all:", "--requirement", "requirements.lock"]
COPY pyproject.toml README.md LICENSE providers.yaml ./
COPY busbar ./busbar
RUN ["pip", "wheel", "--no-deps", "--wheel-dir", "/wheels", "."]
RUN ["pip", "--python", "/opt/busbar/bin/python", "install", "--no-deps", "--no-index", "--find-links", "/wheels", "busbar-gateway"]

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="Busbar" \
      org.opencontainers.image.description="A self-hosted LLM gateway" \
      org.opencontainers.image.licenses="AGPL-3.0-or-later"
# What is written is written here: the governance database and logs. Its owner has the number that the chart knows.
RUN ["pip", "uninstall", "--yes", "--root-user-action", "ignore", "pip"]
RUN ["install", "--directory", "--owner", "10001", "--group", "10001", "--mode", "0750", "/var/lib/busbar"]
COPY --from=build /opt/busbar /opt/busbar
ENV PATH=/opt/busbar/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/busbar \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/busbar
VOLUME ["/var/lib/busbar"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import http.client, sys; there = http.client.HTTPConnection('127.0.0.1', 8080, timeout=2); there.request('GET', '/healthz'); sys.exit(there.getresponse().status != 200)"]
ENTRYPOINT ["busbar"]
# The address is the image's business: the configuration's `listen` is for processes that have one of their own.
CMD ["serve", "--listen", "0.0.0.0:8080"]
