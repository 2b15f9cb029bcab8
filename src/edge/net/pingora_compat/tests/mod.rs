mod connectors;
mod http2;
