# A static binary in an empty image, for the platform it is built on or for (`docker build --platform linux/arm64`).
# BuildKit is not needed; no build argument carries a secret. What is published names RUST_IMAGE by digest:
# .github/workflows/release.yml.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
# hadolint ignore=DL3006
FROM ${RUST_IMAGE} AS build
# Empty: what this image's compiler runs on, so the target follows the platform.
ARG TARGET=
# The same paths and dates in every build: two builds of one commit are the same bytes.
ENV RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/usr/local/cargo=/cargo" \
    CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=0
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Dependencies first, with empty programs: this layer lasts until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY loadtest/Cargo.toml loadtest/
RUN TARGET="${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}" \
 && mkdir src loadtest/src \
 && touch src/lib.rs \
 && echo 'fn main() {}' >src/main.rs \
 && cp src/main.rs loadtest/src/ \
 && cargo build --locked --profile dist --target "$TARGET" --bin onlycare-signaling
COPY src src
COPY web web
RUN TARGET="${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}" \
 && touch src/lib.rs src/main.rs \
 && cargo build --locked --profile dist --target "$TARGET" --bin onlycare-signaling \
 && install -D -s "target/$TARGET/dist/onlycare-signaling" /image/bin/onlycare-signaling \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && /image/bin/onlycare-signaling --version

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="onlycare-signaling" \
      org.opencontainers.image.description="Call signaling for phones, many equal nodes that share one Redis" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.documentation="$SOURCE/blob/$REVISION/docs/operations.md" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build /image /
USER 65532:65532
EXPOSE 3001 9001
# The process and its loop, not Redis; it asks where HOST and ADMIN_PORT say. SIGTERM starts the drain: give it
# DRAIN_DELAY_SECS + DRAIN_SECS and a margin.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["/bin/onlycare-signaling", "--health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/onlycare-signaling"]
