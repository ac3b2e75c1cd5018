# Debian's Prometheus as the official image has it, for trying docker-compose.yml where no registry is reachable.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends prometheus wget \
 && rm -rf /var/lib/apt/lists/* /etc/prometheus /var/lib/prometheus \
 && install --directory --owner nobody --group nogroup /prometheus \
 && mkdir /etc/prometheus
USER nobody
ENTRYPOINT ["prometheus"]
