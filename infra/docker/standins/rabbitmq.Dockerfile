# Debian's RabbitMQ with the official image's folders, for trying docker-compose.yml where no registry is reachable.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends rabbitmq-server \
 && rm -rf /var/lib/apt/lists/* /var/lib/rabbitmq/* /var/log/rabbitmq/* \
 && mkdir -p /etc/rabbitmq/conf.d \
 && install --directory --mode 750 --owner rabbitmq --group rabbitmq /var/lib/rabbitmq
ENV HOME=/var/lib/rabbitmq PATH=/usr/lib/rabbitmq/bin:$PATH RABBITMQ_CONFIG_FILE=/etc/rabbitmq/conf.d/*.conf RABBITMQ_LOGS=-
ENTRYPOINT ["rabbitmq-server"]
