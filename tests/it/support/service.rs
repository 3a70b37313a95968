//! The real program as a service: in a folder of its own, with its successors, which end with the test.

use super::{BACKEND_KEY, KEY, Streamed, V1_CHAT, hash, streamed_chat, wait_for, wait_until};
use firstlight::mock::{BackendSpec, Behaviour, Mock};
use reqwest::Client;
use serde_json::Value;
use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A folder with the program, its configuration, its socket and its state; and two regions, the first of which is
/// preferred.
pub(crate) struct Home {
    folder: TempDir,
    pub(crate) mock: Mock,
}

/// A program that was started, and all that took over from it.
pub(crate) struct Service {
    child: Child,
    program: PathBuf,
    socket: PathBuf,
    /// Lines of the service log, of every process.
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) client: Client,
}

impl Home {
    pub(crate) async fn new(behaviour: Behaviour) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let specs = ["a", "b"].map(|name| {
            let mut spec = BackendSpec::local(name, behaviour.clone());
            spec.api_key = Some(BACKEND_KEY.to_owned());
            spec
        });
        let mock = Mock::start(specs.into(), None, 1).await.unwrap();
        let home = Self { folder, mock };
        fs::create_dir(home.path("state")).unwrap();
        fs::write(home.path("backend.key"), BACKEND_KEY).unwrap();
        let binary = env!("CARGO_BIN_EXE_firstlight");
        if fs::hard_link(binary, home.path("firstlight")).is_err() {
            fs::copy(binary, home.path("firstlight")).unwrap();
        }
        home.configure(&home.yaml());
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration for everything in this folder.
    pub(crate) fn yaml(&self) -> String {
        let (folder, hash) = (self.folder.path().display(), hash(KEY));
        let backend = |name: &str, tier: u8| {
            let address = self.mock.address(name).unwrap();
            format!(
                "  {name}: {{ endpoint: \"http://{address}\", tier: {tier}, auth: {{ api_key: {{ file: {folder}/backend.key }} }} }}\n"
            )
        };
        format!(
            "listen: [ {{ address: 127.0.0.1:0 }} ]\n\
             admin: {{ address: 127.0.0.1:0, socket: {folder}/admin.sock }}\n\
             state_directory: {folder}/state\nbackends:\n{}{}models: {{ gpt-4o: {{}} }}\n\
             apps: {{ tests: {{ api_keys: [ {{ sha256: {hash}, name: k }} ] }} }}\n\
             routing: {{ probe: {{ interval_seconds: 0 }} }}\ndrain_seconds: 20\n",
            backend("a", 0),
            backend("b", 1),
        )
    }

    pub(crate) fn configure(&self, yaml: &str) {
        fs::write(self.path("firstlight.yaml"), yaml).unwrap();
    }

    /// Puts another program in the place of this one, as a package does: the old file stays with who runs it.
    pub(crate) fn replace_program(&self, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt;
        let new = self.path("firstlight.new");
        fs::write(&new, content).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path("firstlight")).unwrap();
    }

    /// `firstlight run`, not started yet. Its standard output is the file `access.log`.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(self.path("firstlight"));
        command.arg("run").arg("--config").arg(self.path("firstlight.yaml")).args(more);
        let access_log = File::options().create(true).append(true).open(self.path("access.log"));
        command.stdin(Stdio::null()).stdout(access_log.unwrap()).stderr(Stdio::piped());
        command
    }

    /// Starts it, without waiting for anything.
    pub(crate) fn launch(&self, more: &[&str]) -> Service {
        let mut child = self.command(more).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, copy) =
            (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| copy.lock().unwrap().push(line));
        });
        let client = super::client(|builder| builder);
        Service {
            child,
            program: self.path("firstlight"),
            socket: self.path("admin.sock"),
            log,
            client,
        }
    }

    /// Starts it, and waits until it serves.
    pub(crate) async fn start(&self) -> Service {
        self.start_with(&[]).await
    }

    pub(crate) async fn start_with(&self, more: &[&str]) -> Service {
        let service = self.launch(more);
        service.said("serving").await;
        service
    }
}

impl Service {
    /// The first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines of the log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// All lines with this message.
    pub(crate) fn lines(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// The first line with this message, waited for.
    pub(crate) async fn said(&self, message: &str) -> Value {
        self.said_times(message, 1).await.remove(0)
    }

    /// So many lines with this message, waited for.
    pub(crate) async fn said_times(&self, message: &str, times: usize) -> Vec<Value> {
        let what = format!("{message:?} in the log {times} times");
        wait_for(&what, || async { Some(self.lines(message)).filter(|all| all.len() >= times) })
            .await
    }

    /// Where the latest process listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.lines("listening").pop().unwrap()["address"].as_str().unwrap().parse().unwrap()
    }

    /// The command line asks it.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
        command.args(arguments).arg("--socket").arg(&self.socket);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// The command line asks it; its exit code, and what it printed.
    pub(crate) async fn told(&self, arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.ask(arguments).await;
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    pub(crate) async fn status(&self) -> Value {
        let output = self.ask(&["status", "--json"]).await;
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// How the model's target on a backend is.
    pub(crate) async fn target(&self, backend: &str) -> Value {
        let status = self.status().await;
        let targets = status["models"][0]["targets"].as_array().unwrap().clone();
        targets.into_iter().find(|target| target["backend"] == backend).unwrap()
    }

    /// A streamed chat, not read yet.
    pub(crate) async fn stream(&self) -> Streamed {
        let url = format!("http://{}{V1_CHAT}", self.address());
        let request = self.client.post(url).header("api-key", KEY).json(&streamed_chat());
        Streamed::of(request.send().await.unwrap())
    }

    pub(crate) async fn chat(&self) -> super::Answer {
        let mut stream = self.stream().await;
        while stream.next().await.is_some() {}
        stream.into_answer()
    }

    /// Sends a signal to the first process.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// The end of the first process, waited for.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the end of the process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Lists what the first process has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.unwrap().success(), "{name} to {pid}");
}

/// Whether a process runs (one that ended and was not waited for does not).
pub(crate) fn running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// All processes of a program, which may have been replaced since. The folder is the test's own.
fn processes_of(program: &Path) -> Vec<u32> {
    let folder = program.parent().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.starts_with(folder))
    })
    .collect()
}

impl Drop for Service {
    #[expect(clippy::print_stderr, reason = "of a failed test, beside its panic")]
    fn drop(&mut self) {
        // A successor is no child of ours. Twice: one may be about to start another.
        for _ in 0..2 {
            for pid in processes_of(&self.program) {
                drop(Command::new("kill").args(["-KILL", &pid.to_string()]).status());
            }
        }
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("the service log:\n{}", self.log().join("\n"));
        }
    }
}
