# One image for all processes: its arguments are those of the `postbacks` command.
#
#   docker build -t postbacks .
#   docker run postbacks settings

FROM python:3.12-slim AS build
RUN python -m venv /opt/postbacks
ENV PATH=/opt/postbacks/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY requirements/service.txt requirements/
RUN pip install --require-hashes -r requirements/service.txt
COPY pyproject.toml README.md ./
COPY runtime runtime
COPY gateway gateway
COPY sending sending
COPY streams streams
COPY sinks sinks
COPY cli cli
COPY operations operations
COPY embedded embedded
COPY simulator simulator
# Build tools are not needed at run time.
RUN pip install --no-deps --no-build-isolation . \
 && pip uninstall --yes hatchling editables pathspec pluggy trove-classifiers pip

FROM python:3.12-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data postbacks \
 && install --directory --owner=postbacks --group=postbacks --mode=0750 /data /etc/postbacks
COPY --from=build /opt/postbacks /opt/postbacks
COPY deploy/image/probe.py /usr/local/bin/probe
ENV PATH=/opt/postbacks/bin:$PATH PYTHONUNBUFFERED=1 \
    POSTBACKS_LISTEN=0.0.0.0:8080 POSTBACKS_OPS=0.0.0.0:8180 POSTBACKS_DATA=/data
USER 10001:10001
WORKDIR /data
EXPOSE 8080 8180
# Liveness only: readiness depends on other services, and the compose file checks it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["probe", "/livez"]
ENTRYPOINT ["postbacks"]
CMD ["--help"]
