# Debian's Caddy, for trying docker-compose.yml where no registry is reachable.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends caddy wget \
 && rm -rf /var/lib/apt/lists/*
