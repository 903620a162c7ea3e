# The images of mlpools: each is its locked dependencies and, last, one thin layer of code.
#
#   base ─┬─ operator-dependencies ── operator    the controller: no machine learning in it
#         ├─ runtime-dependencies ─┬─ runtime     what runs in a job's pods, for CPUs
#         │                        └─ runtime-full-dependencies ── runtime-full
#         │                                       the same with PyTorch, CUDA and what people train with
#         └─ wheel                                builds the project; its result is the thin layer
#
#   docker build --target operator --tag mlpools/operator .
#
# Where TLS is intercepted, give the authorities to trust: --secret id=ca,src=<bundle.pem>

# Any Debian with python3.11 and its venv module.
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS base
# /tmp is the one folder that can be written where the root file system is read-only.
ENV PATH=/opt/mlpools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 1000 mlpools \
 && useradd --uid 1000 --gid 1000 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin mlpools \
 && python3.11 -m venv --without-pip /opt/mlpools \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY requirements/install.sh requirements/uv.txt /opt/mlpools/requirements/

FROM base AS wheel
COPY requirements/build.txt /opt/mlpools/requirements/
RUN --mount=type=secret,id=ca sh /opt/mlpools/requirements/install.sh /opt/mlpools /opt/mlpools/requirements/build.txt
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY workloads workloads
RUN hatchling build --target wheel \
 && python -m zipfile --extract dist/*.whl /code \
 && python -m compileall -q --invalidation-mode unchecked-hash /code

FROM base AS operator-dependencies
COPY requirements/operator.txt /opt/mlpools/requirements/
RUN --mount=type=secret,id=ca sh /opt/mlpools/requirements/install.sh /opt/mlpools /opt/mlpools/requirements/operator.txt

FROM operator-dependencies AS operator
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mlpools operator" \
      org.opencontainers.image.description="Watches compute pools and training jobs and runs them on a Kubernetes cluster." \
      org.opencontainers.image.source="https://github.com/mlpools/mlpools" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /tmp
USER 1000:1000
EXPOSE 8080
ENTRYPOINT ["python", "-m", "mlpools_operator"]
COPY --from=wheel /code /opt/mlpools/lib/python3.11/site-packages

FROM base AS runtime-dependencies
# LightGBM's wheel uses the system's OpenMP, which slim images lack.
RUN ldconfig -p | grep -q libgomp.so.1 \
 || { apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*; }
COPY requirements/runtime.txt /opt/mlpools/requirements/
RUN --mount=type=secret,id=ca sh /opt/mlpools/requirements/install.sh /opt/mlpools /opt/mlpools/requirements/runtime.txt
# Matplotlib's list of fonts, which each pod would make anew: the supervisor lays it where it is looked for.
RUN XDG_CACHE_HOME=/opt/mlpools/share/mlpools/caches python -c "import matplotlib.font_manager"

FROM runtime-dependencies AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mlpools runtime (CPU)" \
      org.opencontainers.image.description="Distributed training on the pods of a Kubernetes cluster: XGBoost, LightGBM, Ray." \
      org.opencontainers.image.source="https://github.com/mlpools/mlpools" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /tmp
USER 1000:1000
EXPOSE 8470
ENTRYPOINT ["python", "-m", "mlpools.supervisor"]
COPY --from=wheel /code /opt/mlpools/lib/python3.11/site-packages

FROM runtime-dependencies AS runtime-full-dependencies
COPY requirements/runtime-full.txt /opt/mlpools/requirements/
# XGBoost for GPUs has the same files as the one for CPUs, which goes first.
RUN --mount=type=secret,id=ca sh /opt/mlpools/requirements/install.sh /opt/mlpools /opt/mlpools/requirements/runtime-full.txt xgboost-cpu

FROM runtime-full-dependencies AS runtime-full
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mlpools runtime (full, CPU and CUDA)" \
      org.opencontainers.image.description="Distributed training on the pods of a Kubernetes cluster: PyTorch, XGBoost, LightGBM, Ray." \
      org.opencontainers.image.source="https://github.com/mlpools/mlpools" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /tmp
USER 1000:1000
EXPOSE 8470
ENTRYPOINT ["python", "-m", "mlpools.supervisor"]
COPY --from=wheel /code /opt/mlpools/lib/python3.11/site-packages
