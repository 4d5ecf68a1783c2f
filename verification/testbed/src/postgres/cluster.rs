//! The folder of a new server.

use crate::process::{Server, run};
use crate::programs;

use super::options::Options;
use super::superuser::{SUPERUSER, VERIFIER};
use super::tls;

/// By the socket every role gets in without a password; by TCP with one. The socket lies in a folder that no other
/// account can enter.
const HBA: &str = "\
local all all trust
local replication all trust
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
";

/// What differs from PostgreSQL's own settings, all of it harmless to durability: room for a store's connections beside
/// those of the tests around it; and shared memory in the data folder, so that a server that was killed leaves none.
const CONF: &str = "\
max_connections = 200
dynamic_shared_memory_type = mmap
log_line_prefix = '%m [%p] %q%u@%d '
";

/// Makes the data folder.
pub(super) fn create(server: &Server, options: &Options) {
    let password = server.write("password", VERIFIER);
    let mut initdb = server.command(&programs::postgres("initdb"));
    initdb.args(["-D", "data", "-U", SUPERUSER, "--encoding=UTF8", "--no-locale", "--no-instructions"]);
    initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]).arg("--pwfile").arg(password);
    // The template need not outlive a power failure. What the server writes from now on is synced as ever.
    initdb.arg("--no-sync").args(&options.initdb);
    run(initdb);
    let mut conf = vec![CONF.to_owned()];
    if options.tls {
        tls::create(server);
        conf.push(tls::CONF.to_owned());
    }
    conf.extend(options.conf.iter().cloned());
    server.write("data/testbed.conf", &(conf.join("\n") + "\n"));
    server.write("data/pg_hba.conf", &(options.hba.join("\n") + "\n" + HBA));
    // Relative, so that a copy of the folder has its own.
    server.append("data/postgresql.conf", "\ninclude 'testbed.conf'\n");
}
