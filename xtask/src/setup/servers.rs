//! The servers that tests talk to: found, else installed, else an error that describes how. A store on another server
//! adds its own here. Tests start them; nothing here leaves one running.

use std::path::Path;

use crate::shell::{Result, program};

use super::packages::{apt, as_root, debian};

/// One search for both: what is found here is what the tests will use.
#[path = "../../../verification/testbed/src/locate.rs"]
mod locate;

/// Debian's tools make a cluster of their own with each server that they install, unless a file forbids it.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/sentinel.conf";

pub(super) fn servers() -> Result {
    if all_found() {
        return Ok(());
    }
    let Some(prefix) = debian() else {
        return Err(format!("the tests start servers of their own: {}", how_to_get_them()).into());
    };
    install(&prefix)?;
    if all_found() {
        return Ok(());
    }
    Err(format!("servers were installed, and some are still missing: {}", how_to_get_them()).into())
}

/// Prints what there is.
fn all_found() -> bool {
    let oldest = locate::OLDEST_POSTGRES;
    let (postgres, pgbouncer) = (locate::postgres(), locate::pgbouncer());
    let shown = |found: Option<&Path>| found.map_or("not found".into(), |path| path.display().to_string());
    println!("PostgreSQL {oldest} or newer: {}", shown(postgres.as_deref()));
    println!("PgBouncer: {}", shown(pgbouncer.as_deref()));
    let ((major, minor), redis) = (locate::OLDEST_REDIS, locate::redis());
    println!("Redis {major}.{minor} or newer: {}", shown(redis.as_deref()));
    let prometheus = locate::prometheus();
    println!("Prometheus: {}", shown(prometheus.as_deref()));
    // Tests that move a server's clock do without where there is none.
    let faketime = locate::faketime();
    println!("libfaketime: {}", shown(faketime.as_deref()));
    let clock = faketime.is_some() || debian().is_none();
    postgres.is_some() && pgbouncer.is_some() && redis.is_some() && prometheus.is_some() && clock
}

fn install(prefix: &[&str]) -> Result {
    apt(prefix, &["update"])?;
    if locate::postgres().is_none() {
        let folder = Path::new(NO_CLUSTER).parent().unwrap_or(Path::new("/")).display();
        let file = format!("mkdir -p {folder} && echo 'create_main_cluster = false' >{NO_CLUSTER}");
        as_root(prefix, &["sh", "-c", &file])?;
        let installed = install_package(prefix, "postgresql");
        // An administrator who installs another version later decides anew.
        as_root(prefix, &["rm", "-f", NO_CLUSTER])?;
        installed?;
    }
    if locate::pgbouncer().is_none() {
        install_without_service(prefix, "pgbouncer")?;
    }
    if locate::redis().is_none() {
        install_without_service(prefix, "redis-server")?;
    }
    if locate::faketime().is_none() {
        install_package(prefix, "libfaketime")?;
    }
    if locate::prometheus().is_none() {
        unpack_prometheus()?;
    }
    Ok(())
}

/// Unpacks Debian's package without installing it: only its two programs are needed, and an installed one starts a
/// server that scrapes this machine.
fn unpack_prometheus() -> Result {
    let Some(folder) = locate::prometheus_unpacked() else { return Ok(()) };
    let folder = folder.display();
    let unpack = format!(
        "mkdir -p '{folder}' && cd '{folder}' && apt-get download prometheus && dpkg -x prometheus_*.deb . && \
         rm prometheus_*.deb"
    );
    program("sh", &["-c", &unpack]).run()
}

/// Installs a package that starts a server of its own, which is not needed here. The service of one that was
/// installed before, only too old, is left alone.
fn install_without_service(prefix: &[&str], package: &str) -> Result {
    let was_there = is_installed(package);
    install_package(prefix, package)?;
    if was_there {
        Ok(())
    } else if Path::new("/run/systemd/system").exists() {
        as_root(prefix, &["systemctl", "disable", "--now", package])
    } else {
        // Where no init runs, as in most containers, the package may have started it all the same.
        let stop = format!("! service {package} status >/dev/null 2>&1 || service {package} stop");
        as_root(prefix, &["sh", "-c", &stop])
    }
}

fn is_installed(package: &str) -> bool {
    // An unknown package is an error here, and a message on stderr that is of no use.
    let query = format!("dpkg-query --show --showformat='${{Status}}' {package} 2>/dev/null");
    program("sh", &["-c", &query]).read().is_ok_and(|status| status.ends_with(" installed"))
}

fn install_package(prefix: &[&str], package: &str) -> Result {
    apt(prefix, &["install", "--yes", "--no-install-recommends", package])
}

fn how_to_get_them() -> &'static str {
    if cfg!(target_os = "macos") {
        "brew install postgresql@17 pgbouncer redis prometheus"
    } else if Path::new("/etc/debian_version").exists() {
        "sudo apt-get install postgresql pgbouncer redis-server libfaketime prometheus; where that Redis is older than \
         7.0, see https://packages.redis.io"
    } else if Path::new("/etc/redhat-release").exists() {
        "sudo dnf install postgresql-server postgresql-contrib pgbouncer redis golang-github-prometheus"
    } else {
        "install PostgreSQL (14 or newer, with pgbench), PgBouncer, Redis (7.0 or newer) and Prometheus (with \
         promtool) with the system's package manager"
    }
}
