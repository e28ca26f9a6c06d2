# The server in an image of its own: one static program, its user, its data.
#
#   docker build -t pykv .
#
# packaging/compose.yaml is an example that runs it, with a password.

FROM rust:1-alpine AS build
RUN apk add --no-cache musl-dev gcc make protobuf-dev
WORKDIR /pykv
COPY . .
# The target of this image is musl, whose programs are static.
RUN cargo build --release --locked --features etcd --bin pykv-server && strip target/release/pykv-server
RUN mkdir -p /image/data && cp target/release/pykv-server /image/

FROM scratch
COPY --from=build /image/pykv-server /pykv-server
# Of the same number as the user below; a new volume takes its owner from here.
COPY --from=build --chown=10001:10001 /image/data /data
USER 10001:10001
VOLUME /data
EXPOSE 7878 8000
ENV PYKV_DATA=/data PYKV_LISTEN=0.0.0.0:7878 PYKV_HTTP=0.0.0.0:8000
# It asks the text port under the settings above.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["/pykv-server", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/pykv-server"]
