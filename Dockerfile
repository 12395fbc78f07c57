# One image for every command: `docker build -t fscxr .`, then `docker run --rm fscxr --help`; compose.yaml runs two of them.
# .ci/container_commands.py runs its commands without Docker.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
# torch without CUDA is a tenth of the download; `--build-arg TORCH_INDEX=` takes that of PyPI, with it.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY --from=build /wheels /wheels
RUN python -m venv /opt/fscxr
RUN wheel="$(ls /wheels/fewshot_cxr-*.whl)" && /opt/fscxr/bin/python -m pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "${wheel}[serve,listen,lite0]"
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin fscxr
# All that is written while it runs lies here: a file system in memory, so that the root may be read-only.
ENV PATH=/opt/fscxr/bin:$PATH HOME=/tmp TMPDIR=/tmp FSCXR_CACHE=/tmp/cache XDG_STATE_HOME=/tmp/state \
    MPLCONFIGDIR=/tmp/matplotlib MPLBACKEND=Agg PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /banks
EXPOSE 8000 11112
ENTRYPOINT ["fscxr"]
CMD ["--help"]
