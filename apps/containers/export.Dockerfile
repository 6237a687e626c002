# The export: makes bundles of the shipped weights or of a checkpoint. From the root of the checkout:
#
#   docker build --file apps/containers/export.Dockerfile --tag elir-edge-export .
#   docker run --rm --user "$(id -u)" --volume "$PWD/dist:/dist" elir-edge-export --task denoising --target onnx
#
# PyTorch from PyPI brings CUDA, some gigabytes. Without it, by PyTorch's index of CPU builds (pytorch.org names it):
#   --build-arg PIP_ARGUMENTS="--extra-index-url ..."

ARG BASE=debian:trixie-slim
FROM $BASE
ARG EXTRAS=export
ARG PIP_ARGUMENTS=""
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Debian's stable release changes for security alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home elir
WORKDIR /elir-edge
COPY . .
# The arguments are several words.
# hadolint ignore=SC2086
RUN python3 -m venv /opt/elir \
    && /opt/elir/bin/pip install --no-cache-dir --constraint requirements.lock $PIP_ARGUMENTS --editable ".[$EXTRAS]" \
    && mkdir /dist \
    && chown 10001 /dist
ENV PATH=/opt/elir/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001
ENTRYPOINT ["python3", "-m", "export", "--out", "/dist"]
CMD ["--help"]
