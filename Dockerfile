# One file, four images, each a layer on the one before, so that a disk holds them once:
#
#   web      the application, its workers and beat
#   checks   and what checks responses, Node.js among it; runs code that models wrote, too
#   trainer  and what trains: torch, transformers, TRL      (--build-arg TORCH=gpu takes the CUDA builds)
#   engine   and what serves on a CPU: vLLM
#
# Packages come from the hashed locks in requirements/. Nothing secret is in an image, and nothing runs as root.

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# ── Front-end files, with the Node.js of a PyPI wheel ────────────────────────────────────────────────────────────────
FROM base AS assets
WORKDIR /src
COPY requirements/assets.txt requirements/
RUN python -m venv /opt/node && /opt/node/bin/pip install --require-hashes --no-deps -r requirements/assets.txt
COPY package.json package-lock.json .npmrc ./
COPY scripts/__init__.py scripts/assets.py scripts/
RUN /opt/node/bin/python -m scripts.assets

# ── Packages; they change seldom, so they come before the code ───────────────────────────────────────────────────────
FROM base AS web-packages
# The second user runs code that models wrote and owns the folder of the socket, which the first one's group may enter.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin corral \
    && useradd --uid 10002 --gid corral --no-create-home --shell /usr/sbin/nologin sandbox \
    && install -d -o corral -g corral /var/lib/corral \
    && install -d -o sandbox -g corral -m 750 /run/corral \
    && python -m venv /opt/corral \
    && printf '#!/bin/sh\nexec python -m app.commands.cli "$@"\n' > /opt/corral/bin/corral && chmod 755 /opt/corral/bin/corral
ENV PATH=/opt/corral/bin:$PATH PYTHONPATH=/srv/corral CORRAL_DATA_DIR=/var/lib/corral
WORKDIR /srv/corral
COPY requirements/web.txt requirements/
RUN pip install --require-hashes --no-deps --only-binary=:all: -r requirements/web.txt

FROM web-packages AS checks-packages
COPY requirements/checks.txt requirements/
RUN pip install --require-hashes --no-deps --only-binary=:all: -r requirements/checks.txt

FROM checks-packages AS trainer-packages
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/train.txt requirements/torch-gpu.txt requirements/
# The CPU build of torch is not on the package index: it comes from what pip is set up with, else from PyTorch's.
RUN if [ "$TORCH" = gpu ]; then \
      pip install --require-hashes --no-deps --only-binary=:all: -r requirements/torch-gpu.txt; \
    else \
      pip install --no-deps torch==2.13.0+cpu || pip install --no-deps --index-url "$TORCH_INDEX" torch==2.13.0+cpu; \
    fi
RUN pip install --require-hashes --no-deps --only-binary=:all: -r requirements/train.txt

FROM trainer-packages AS engine-packages
RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/*
COPY requirements/engine-cpu.txt requirements/
RUN pip install --require-hashes --no-deps --only-binary=:all: -r requirements/engine-cpu.txt

# ── The code ─────────────────────────────────────────────────────────────────────────────────────────────────────────
FROM base AS code
WORKDIR /srv/corral
COPY pyproject.toml ./
COPY migrations migrations
COPY templates templates
COPY static static
COPY --from=assets /src/static/vendor static/vendor
COPY training training
COPY app app
COPY workers workers
# The sources are read-only to the process, so the byte code is made here.
RUN python -m compileall -q app migrations training workers

FROM web-packages AS web
COPY --from=code /srv/corral /srv/corral
USER corral
EXPOSE 8000
ENV CORRAL_HOST=0.0.0.0
CMD ["python", "-m", "app.site.serve"]

FROM checks-packages AS checks
COPY --from=code /srv/corral /srv/corral
USER corral
CMD ["celery", "-A", "workers.celery_app", "worker", "-Q", "checks", "-c", "1"]

FROM trainer-packages AS trainer
ENV HF_HOME=/tmp/huggingface
COPY --from=code /srv/corral /srv/corral
USER corral
CMD ["celery", "-A", "workers.celery_app", "worker", "-Q", "training", "-c", "1"]

FROM engine-packages AS engine
ENV HF_HOME=/tmp/huggingface VLLM_CACHE_ROOT=/tmp/vllm VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 \
    VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 VLLM_PLUGINS=lora_filesystem_resolver VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 \
    OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 KMP_BLOCKTIME=0
USER corral
EXPOSE 8000
# The console script asks for the version of a package named "vllm", which the CPU build is not: start the module.
ENTRYPOINT ["python", "-m", "vllm.entrypoints.launchers.api_server.entry"]
