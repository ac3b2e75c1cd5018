# Debian's Alertmanager under the official image's name, for trying docker-compose.yml where no registry is reachable.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends prometheus-alertmanager wget \
 && rm -rf /var/lib/apt/lists/* /etc/prometheus /var/lib/prometheus \
 && ln -s prometheus-alertmanager /usr/bin/alertmanager \
 && install --directory --owner nobody --group nogroup /alertmanager \
 && mkdir /etc/alertmanager
USER nobody
ENTRYPOINT ["alertmanager"]
