# The pipeline with its Airflow, as requirements.txt has it: all services of docker-compose.yaml are this image.
FROM python:3.11-slim-trixie

# pg_dump and pg_restore, for back-ups, must not be older than the server of docker-compose.yaml.
RUN apt-get update \
 && apt-get install -y --no-install-recommends make postgresql-client tini \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/trap
COPY requirements.txt ./
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --quiet -r requirements.txt \
 && touch .venv/.ready

COPY bin bin
COPY dags dags
COPY include include
COPY plugins plugins
RUN .venv/bin/python -m compileall -q plugins dags \
 && useradd --uid 50000 --gid 0 --no-create-home --home-dir /opt/trap/var trap \
 && mkdir var && chown 50000:0 var && chmod 775 var

USER 50000:0
ENV TRAP_CLUSTER=/opt/trap/include/compose.toml
VOLUME /opt/trap/var
ENTRYPOINT ["tini", "--", "/opt/trap/bin/trap-manage"]
CMD ["--help"]
