# The one image of the product: `abaxus api`, `abaxus worker` and `abaxus migrate` are commands of it.
# It carries the wheel that we ship and its locked dependencies; no compiler, no pip of its own,
# no embedded PostgreSQL. Any base with Python 3.11 or later and its venv module will do:
#   docker build --build-arg PYTHON_IMAGE=python:3.12-slim -t abaxus:0.1.0 .
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/abaxus
# Dependencies before sources: a change of ours does not fetch them again.
COPY requirements/build.txt requirements/image.txt requirements/
RUN /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
 && /opt/build/bin/pip --python /opt/abaxus/bin/python install --require-hashes -r requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY sql sql
COPY abaxus_plugins abaxus_plugins
COPY abaxus_core abaxus_core
RUN /opt/build/bin/hatchling build -t wheel -d /dist \
 && /opt/build/bin/pip --python /opt/abaxus/bin/python install --no-deps --no-index /dist/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="ABAXUS" \
      org.opencontainers.image.description="Self-hosted usage-based billing" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/abaxus /opt/abaxus
# The root file system may be mounted read-only, so nothing is compiled at run time.
ENV PATH=/opt/abaxus/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["abaxus"]
CMD ["api"]
