# Two images: `predict`, the default, runs a model, and `pipeline` makes one. docs/containers.md says how to run them.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS environment
# pip takes no hashes for a part of requirements.lock; uv takes the lock as a constraint, and checks the hashes in it.
RUN pip install --no-cache-dir uv==0.13.9
ENV VIRTUAL_ENV=/opt/facemask
WORKDIR /source
COPY pyproject.toml requirements.lock ./
RUN uv venv "$VIRTUAL_ENV" && \
    uv pip install --no-cache --compile-bytecode --constraint requirements.lock -r pyproject.toml --extra serve
COPY README.md LICENSE ./
COPY facemask facemask
RUN uv pip install --no-cache --compile-bytecode --build-constraint requirements.lock --no-deps .


FROM python:${PYTHON}-slim AS tools
# Debian keeps only the newest version of a package, so none is named.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends git make && \
    rm -rf /var/lib/apt/lists/*
# The dev container mounts a volume on .venv, which takes its mode from this folder; the user has the host's number there.
RUN useradd --uid 1000 --create-home facemask && \
    install --directory --owner facemask --group facemask --mode 777 /facemask /facemask/.venv
USER 1000
WORKDIR /facemask


FROM tools AS pipeline
COPY --chown=facemask:facemask . .
RUN make .venv/requirements.lock PIP_NO_CACHE_DIR=1
CMD ["make", "repro"]


FROM python:${PYTHON}-slim AS predict
RUN useradd --uid 1000 --create-home facemask && \
    install --directory --owner facemask --group facemask /home/facemask/.cache /home/facemask/models
COPY --from=environment /opt/facemask /opt/facemask
ENV PATH=/opt/facemask/bin:$PATH
USER 1000
WORKDIR /home/facemask
EXPOSE 8000
# Answers once the model is loaded.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/api/model', timeout=4)"]
ENTRYPOINT ["facemask"]
CMD ["serve", "--host", "0.0.0.0", "--no-browser"]
