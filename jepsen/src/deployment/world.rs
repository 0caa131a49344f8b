//! What one run takes from the machine: network namespaces on one bridge, small file systems, a directory.
//!
//! Everything is named after this process (`pejep-<pid>…`) and goes with the value that holds it, on every way out but one:
//! what a run leaves that was killed itself, the next one removes before it starts. Its processes have died with it then, by
//! their parent death signal.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

const PREFIX: &str = "pejep";
/// Runs on one machine at once: each has a block of 4096 addresses of 10.231.0.0/16.
const RUNS_MAX: u8 = 16;
/// Namespaces of one run, counting those that are gone again: as many as a block has addresses for.
const NUMBERS_MAX: u16 = 4_000;

/// The bridge, the directory, and what makes namespaces.
#[derive(Debug)]
pub(super) struct World {
    /// Names everything of this run.
    run: String,
    block: u8,
    number: u16,
    dir: TempDir,
}

impl World {
    /// Removes what killed runs have left, then makes the bridge.
    pub(super) fn new() -> Result<Self> {
        check_machine()?;
        remove_leftovers()?;
        let run = format!("{PREFIX}-{}", std::process::id());
        let taken = ip(&["-4", "-o", "addr", "show"])?;
        let block = (0..RUNS_MAX).find(|block| !taken.contains(&format!(" {}/", gateway(*block))));
        let block = block.with_context(|| format!("{RUNS_MAX} runs are under way on this machine"))?;
        let dir = tempfile::Builder::new().prefix(&format!("{run}-")).tempdir().context("make a directory")?;
        // From here on `Drop` cleans up.
        let world = Self { run, block, number: 0, dir };
        ip(&["link", "add", &world.run, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/20", world.gateway()), "dev", &world.run])?;
        ip(&["link", "set", &world.run, "up"])?;
        Ok(world)
    }

    /// Where receiver, target and DNS listen.
    pub(super) fn gateway(&self) -> Ipv4Addr {
        gateway(self.block)
    }

    /// Directory of this run.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A new namespace with an address of its own. `names` are the pod's own names, `search` what it completes names with.
    pub(super) fn namespace(&mut self, names: &str, search: &str) -> Result<Namespace> {
        ensure!(self.number < NUMBERS_MAX, "{NUMBERS_MAX} pods in one run: start another one");
        self.number += 1;
        let address = address(self.block, self.number);
        let name = format!("{}-{}", self.run, self.number);
        let namespace = Namespace { name, address, gateway: self.gateway() };
        let name = namespace.name.as_str();
        ip(&["netns", "add", name])?;
        let etc = namespace.etc();
        fs::create_dir_all(&etc)?;
        let resolve = format!("nameserver {}\nsearch {search}\noptions ndots:5\n", self.gateway());
        fs::write(etc.join("resolv.conf"), resolve)?;
        fs::write(etc.join("hosts"), format!("127.0.0.1 localhost\n{address} {names}\n"))?;
        let link = format!("pj{}.{}", std::process::id(), self.number);
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        ip(&["link", "set", &link, "master", &self.run, "up"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{address}/20"), "dev", "eth0"])?;
        Ok(namespace)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What cannot be removed now, the next run removes.
        let _ = ip(&["link", "del", &self.run]);
    }
}

/// A network namespace; goes when dropped. Processes in it must have ended before.
#[derive(Debug)]
pub struct Namespace {
    /// Full name.
    pub name: String,
    /// Its only address besides loopback.
    pub address: Ipv4Addr,
    /// The machine's own side of the bridge.
    pub gateway: Ipv4Addr,
}

impl Namespace {
    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// A command that runs `program` inside, with an almost empty environment; it dies with the thread that starts it. Every
    /// link of the chain executes the next one, so the process id is that of the program itself.
    pub fn command(&self, hostname: &str, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.name]);
        command.args(["unshare", "--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\"", hostname]).arg(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path);
        // The terminal's Ctrl-C is for the harness, which ends its processes in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Calls `make` on a thread inside: sockets stay where they were made.
    pub fn inside<T: Send>(&self, make: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let handle = fs::File::open(Path::new("/run/netns").join(&self.name)).context("open the namespace")?;
        let enter = || {
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&handle), Some(LinkNameSpaceType::Network))?;
            make()
        };
        match std::thread::scope(|scope| scope.spawn(enter).join()) {
            Ok(result) => result,
            Err(_) => bail!("the thread in {} panicked", self.name),
        }
    }

    /// Replaces all nftables rules.
    pub fn set_rules(&self, rules: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "nft", "-f", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("start nft")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(rules.as_bytes())?;
        }
        let done = child.wait_with_output()?;
        ensure!(done.status.success(), "nft: {}\n{rules}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove_namespace(&self.name);
    }
}

/// A small file system in memory; unmounted when dropped.
#[derive(Debug)]
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of so many MiB at `path`, which is made.
    pub fn mount(path: &Path, mebibytes: u32) -> Result<Self> {
        fs::create_dir_all(path)?;
        let options = std::ffi::CString::new(format!("size={mebibytes}m,mode=0755"))?;
        mount(PREFIX, path, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
            .with_context(|| format!("mount a tmpfs at {}", path.display()))?;
        Ok(Self(path.into()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Whatever still has a file open there, the mount is out of the way.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn gateway(block: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 231, block * 16, 1)
}

/// Address of the namespace with this number, from 1 on.
fn address(block: u8, number: u16) -> Ipv4Addr {
    let [high, low] = (u16::from(block) * 4096 + 1 + number).to_be_bytes();
    Ipv4Addr::new(10, 231, high, low)
}

/// What a run needs.
fn check_machine() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "jepsen run makes network namespaces: run it as root (`sudo`)");
    for (tool, package) in
        [("ip", "iproute2"), ("nft", "nftables"), ("setpriv", "util-linux"), ("unshare", "util-linux")]
    {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        // iproute2 knows `-V` only, and says so with an exit code; what counts is that it starts.
        found.map_err(|_| {
            anyhow::anyhow!("`{tool}` is missing: install the package {package} (`tests/setup/tools chaos`)")
        })?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<String> {
    let done = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("start ip")?;
    let words = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip {}: {}", arguments.join(" "), words.trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn remove_namespace(name: &str) {
    // Only what is there can be removed.
    let _ = ip(&["netns", "del", name]);
    let _ = fs::remove_dir_all(Path::new("/etc/netns").join(name));
}

/// Removes what runs that were killed have left.
fn remove_leftovers() -> Result<()> {
    let is_alive = |pid: u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.windows(6).any(|part| part == b"jepsen"))
    };
    let is_left = |name: &str| owner(name).is_some_and(|pid| pid == std::process::id() || !is_alive(pid));
    for folder in ["/run/netns", "/etc/netns"] {
        names_in(Path::new(folder)).filter(|name| is_left(name)).for_each(|name| remove_namespace(&name));
    }
    names_in(Path::new("/sys/class/net")).filter(|name| is_left(name)).for_each(|name| {
        let _ = ip(&["link", "del", &name]);
    });
    let temporary = std::env::temp_dir();
    let mounts = fs::read_to_string("/proc/mounts").context("read /proc/mounts")?;
    for name in names_in(&temporary).filter(|name| is_left(name)) {
        let dir = temporary.join(name);
        for point in
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| Path::new(at).starts_with(&dir))
        {
            unmount(point, UnmountFlags::DETACH).with_context(|| format!("unmount {point}, left by a killed run"))?;
        }
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}, left by a killed run", dir.display()))?;
    }
    Ok(())
}

/// The process that something of this name belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_run() {
        assert_eq!(owner("pejep-4711-3"), Some(4711));
        assert_eq!(owner("pejep-4711"), Some(4711));
        assert_eq!(owner("pejep-4711-aXb9"), Some(4711));
        for other in ["pe-4711-3", "pejep4711-1", "pejep", "pejep-", "pejep-x-1", "pejepper-1"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn addresses_of_two_runs_never_meet() {
        assert_eq!((gateway(0), address(0, 1)), ([10, 231, 0, 1].into(), [10, 231, 0, 2].into()));
        assert_eq!(address(0, NUMBERS_MAX), Ipv4Addr::from([10, 231, 15, 161]));
        assert_eq!((gateway(15), address(15, NUMBERS_MAX)), ([10, 231, 240, 1].into(), [10, 231, 255, 161].into()));
        assert!(address(0, NUMBERS_MAX) < gateway(1));
    }
}
