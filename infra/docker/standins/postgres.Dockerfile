# Debian's PostgreSQL under the official image's variables, for trying docker-compose.yml where no registry is reachable.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
 && apt-get install --yes --no-install-recommends postgresql \
 && rm -rf /var/lib/apt/lists/* \
 && install --directory --mode 700 --owner postgres --group postgres /var/lib/postgresql/data \
 && chmod 3777 /var/run/postgresql
COPY postgres-entrypoint /entrypoint
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["/entrypoint"]
