//! The bridge as it runs, against Xvfb, x11vnc and Wine themselves. What can't be had here, MetaQuotes' programs and the
//! dispatcher's machine, is stood in for by small programs that speak as they do.

#[path = "../../infra/stack/tests/catalogue/mod.rs"]
mod catalogue;
#[path = "bridge/dashboards.rs"]
mod dashboards;
#[path = "bridge/dispatcher.rs"]
mod dispatcher;
#[path = "bridge/install.rs"]
mod install;
#[path = "bridge/metrics.rs"]
mod metrics;
#[path = "../../infra/stack/tests/observe/mod.rs"]
mod observe;
#[path = "bridge/prefix.rs"]
mod prefix;
#[path = "bridge/process.rs"]
mod process;
#[path = "bridge/relay.rs"]
mod relay;
#[path = "bridge/rfb.rs"]
mod rfb;
#[path = "bridge/settings.rs"]
mod settings;
#[path = "bridge/start.rs"]
mod start;
#[path = "bridge/support.rs"]
mod support;
#[path = "bridge/tls.rs"]
mod tls;
#[path = "bridge/trouble.rs"]
mod trouble;
#[path = "bridge/words.rs"]
mod words;
