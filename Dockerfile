# One image for hub and workers. Built and run by compose.yaml; docs/deploy.md says how.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
WORKDIR /app
COPY . .
# Makes .venv from the pinned requirements, builds the cockpit and compiles the kernels, as on any machine.
RUN python3 scripts/bootstrap.py demo --help && rm -rf .venv/node hub/web/node_modules

FROM ${PYTHON}
RUN useradd --create-home --uid 10001 citytwin \
    && mkdir -p /var/lib/citytwin && chown citytwin /var/lib/citytwin
COPY --from=build --chown=citytwin /app /app
ENV PATH=/app/.venv/bin:$PATH CITYTWIN_STATE=/var/lib/citytwin CITYTWIN_LOG=json
USER citytwin
WORKDIR /app
VOLUME /var/lib/citytwin
ENTRYPOINT ["citytwin"]
