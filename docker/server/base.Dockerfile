# Stands in for a registry's Python image where none can be pulled: Debian's Python with the server's packages.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-pip nftables >/dev/null \
    && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED
COPY packages /usr/local/lib/python3.11/dist-packages
