# A node of a Ray cluster for embstore build --on ray: each node needs the same Python, Ray and embstore.
#
#   docker build -t embstore-ray .
#   docker run --network host --shm-size 4g -v /shared:/shared embstore-ray                                 # the head
#   docker run --network host --shm-size 4g -v /shared:/shared embstore-ray --address HEAD:6379 --block     # a worker
#
# /shared is the folder of the store, mounted at the same path on each node. GPUs: add --gpus all.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY cli cli
COPY embstore embstore
COPY schemas schemas
RUN pip install --no-cache-dir ".[build,ray]" && rm -rf /src/*

RUN useradd --create-home node
USER node
WORKDIR /home/node
ENTRYPOINT ["ray", "start"]
CMD ["--head", "--block"]
