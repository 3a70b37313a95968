//! nginx as people put it before several Azure regions: round robin, the next region on an error.
//!
//! One process of its own with a directory of its own, on a free port of 127.0.0.1; nothing of a system's nginx
//! is read or touched. It has no first-token time-out; `proxy_read_timeout`, the longest silence, is the nearest
//! thing and gets the figure that Firstlight's first token gets. What it notices it says only in its error log.

use anyhow::{Context, bail};
use firstlight::clock::Clock;
use firstlight::time::Time;
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running nginx. Dropped, its process is ended.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    process: Child,
    directory: TempDir,
    regions: Vec<(String, SocketAddr)>,
}

/// How long it may take to open its port.
const START: Duration = Duration::from_secs(5);

/// What nginx's error log says when it takes an upstream out for `fail_timeout`.
const TAKEN_OUT: &str = "upstream server temporarily disabled";

/// Whether there is an nginx that can be started.
pub(crate) fn exists(binary: &Path) -> bool {
    let asked = Command::new(binary).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

impl Nginx {
    /// Starts one before these regions, and waits until it accepts connections.
    pub(crate) async fn start(
        binary: &Path,
        regions: Vec<(String, SocketAddr)>,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let address = free_address()?;
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration(address, &regions)?)?;
        let process = Command::new(binary)
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(log_of(&directory))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx does not start")?;
        let mut nginx = Self { address, process, directory, regions };
        nginx.wait_until_open().await?;
        Ok(nginx)
    }

    /// How often it took a region out so far.
    pub(crate) fn markings(&self, region: &str) -> u64 {
        let Some((_, address)) = self.regions.iter().find(|(name, _)| name == region) else {
            return 0;
        };
        let upstream = format!("upstream: \"http://{address}/");
        let log = fs::read_to_string(log_of(&self.directory)).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains(TAKEN_OUT) && line.contains(&upstream));
        u64::try_from(lines.count()).unwrap_or(u64::MAX)
    }

    async fn wait_until_open(&mut self) -> anyhow::Result<()> {
        let clock = Clock::start();
        while TcpStream::connect(self.address).is_err() {
            if self.process.try_wait()?.is_some() || clock.now() > Time::at(START) {
                let log = fs::read_to_string(log_of(&self.directory)).unwrap_or_default();
                bail!("nginx does not open {}: {log}", self.address);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end or to wait for.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn log_of(directory: &TempDir) -> PathBuf {
    directory.path().join("error.log")
}

/// A port that was free a moment ago: nginx cannot be asked which one it took.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// One process without workers: it is ended by its id, and `max_fails` counts in one place.
fn configuration(
    address: SocketAddr,
    regions: &[(String, SocketAddr)],
) -> Result<String, std::fmt::Error> {
    let mut servers = String::new();
    for (_, region) in regions {
        write!(servers, "server {region}; ")?;
    }
    Ok(format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream azure {{ {servers} keepalive 64; }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://azure;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_connect_timeout 3s;
            proxy_read_timeout 2s;
            proxy_next_upstream error timeout http_500 http_502 http_503 http_504 http_429 non_idempotent;
        }}
    }}
}}
"
    ))
}
