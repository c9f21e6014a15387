# A static binary in an empty image. BuildKit is not needed; no build argument carries a secret.
FROM rust:1.95-slim-bookworm AS build
ARG TARGET=x86_64-unknown-linux-gnu
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_TERM_COLOR=never
# busybox serves the health check: the empty image has nothing that could ask.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Dependencies first, with empty programs: this layer lasts until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY loadtest/Cargo.toml loadtest/
RUN mkdir src loadtest/src \
 && touch src/lib.rs \
 && echo 'fn main() {}' >src/main.rs \
 && cp src/main.rs loadtest/src/ \
 && cargo build --locked --profile dist --target "$TARGET" --bin onlycare-signaling
COPY src src
COPY web web
RUN touch src/lib.rs src/main.rs \
 && cargo build --locked --profile dist --target "$TARGET" --bin onlycare-signaling \
 && install -D -s "target/$TARGET/dist/onlycare-signaling" /image/bin/onlycare-signaling \
 && install -D /bin/busybox /image/bin/wget \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && /image/bin/onlycare-signaling --version

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="onlycare-signaling" \
      org.opencontainers.image.description="Call signaling for phones, many equal nodes that share one Redis" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image /
USER 65532:65532
EXPOSE 3001 9001
# The process and its loop, not Redis. SIGTERM starts the drain: give it DRAIN_DELAY_SECS + DRAIN_SECS and a margin.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s \
  CMD ["/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9001/live"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/onlycare-signaling"]
