//! The subcommands as they are typed, with the help that says what each does to the disk and what it does not.

#![allow(clippy::doc_markdown)] // help is read in a terminal, see `raw`

use crate::role::Role;

#[derive(Debug, clap::Subcommand)]
pub(super) enum RawCommand {
    /// Print the Prometheus configuration of a role
    ///
    /// Reads --config and prints to standard output what the sidecar would write for that role. Writes nothing to the
    /// disk and contacts nobody.
    Render {
        /// Whose configuration
        #[arg(long, value_name = "ROLE")]
        role: RawRole,
    },
    /// Check the configuration file
    ///
    /// Reads --config, renders both roles and prints mistakes with line and column. Writes nothing to the disk and
    /// contacts nobody.
    CheckConfig,
    /// Check the flags
    ///
    /// Reads them as the sidecar would at its start (with --init: the init container), and prints mistakes and warnings.
    /// Looks into no file, writes nothing to the disk and contacts nobody.
    CheckFlags,
    /// Show members, roles, term, health, configuration and remote writes, as the sidecar on this host sees them
    ///
    /// Asks the running sidecar at --admin-listen-address. Changes nothing and writes nothing to the disk.
    Status {
        /// Print the whole status as JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Show it again each second until Ctrl-C, in place on a terminal
        #[arg(long)]
        watch: bool,
        /// Print one line and exit with 1 unless the member is settled in a group that has a leader, with its
        /// configuration in force
        #[arg(long, conflicts_with_all = ["json", "watch"])]
        check: bool,
        /// Ask this member instead, at its API address and without TLS
        #[arg(long, value_name = "HOST:PORT")]
        of: Option<String>,
    },
    /// Make the leader hand over to another member
    ///
    /// Asks the running sidecar at --admin-listen-address; it must be the leader. It puts the follower configuration in
    /// force (so it writes --output), then hands over. It may lead again later; see cordon. Your --config and the
    /// members of the group stay as they are.
    StepDown,
    /// Keep this member from leading until uncordon or a restart
    ///
    /// Asks the running sidecar at --admin-listen-address. A leader steps down first, which writes --output. The cordon
    /// itself is kept in memory and not written to the disk: a restart undoes it. The member goes on voting.
    Cordon,
    /// Let this member lead again
    ///
    /// Asks the running sidecar at --admin-listen-address. Writes nothing to the disk.
    Uncordon,
    /// Make the sidecar stop as on SIGTERM, for a preStop hook
    ///
    /// Asks the running sidecar at --admin-listen-address, and does not wait. The sidecar puts the follower configuration in
    /// force (so it writes --output), hands over, and ends once its Prometheus has stopped, at the latest after
    /// --api-shutdown-grace-delay. A SIGTERM in between changes nothing; a second one ends it at once.
    Shutdown {
        /// First wait at most so long until all other members have been well for 20 seconds: for a witness, which Kubernetes
        /// replaces without a look at the replicas
        #[arg(long, value_name = "DURATION", value_parser = super::duration::parse)]
        wait_for_others: Option<std::time::Duration>,
    },
    /// List the members of the group, or remove one
    Member {
        #[command(subcommand)]
        command: RawMemberCommand,
    },
    /// Last resort after a majority of the members is lost for good: make this member blank
    ///
    /// Gives up the group's state in --raft-data-dir (found beside --output when it is not given): votes, log,
    /// membership and history of the old group. The member gets a new node id, and can form or join a group again.
    /// --config and --output stay as they are. A sidecar that is running does it itself, asked at
    /// --admin-listen-address; otherwise this changes the files on the disk itself.
    ///
    /// DANGER: while a majority of the old group is alive or can come back, this can make two groups, and so two
    /// writers. Be sure that the lost members stay lost, run it on each that is left, and take the lost ones out of DNS or
    /// --peers: they count towards the majority that forms the group.
    Recover {
        /// Confirm it; without this nothing is done
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum RawMemberCommand {
    /// List the members of the group
    ///
    /// Asks the running sidecar at --admin-listen-address. Changes nothing and writes nothing to the disk.
    List,
    /// Remove a member from the group
    ///
    /// Asks the running sidecar at --admin-listen-address; it must be the leader. Every member records the change on
    /// its disk. A removed member that still runs deletes the group's state on its own disk, gets a new node id and
    /// stays out until its process is started again.
    Remove {
        /// Name of the member, as `status` shows it
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum RawRole {
    Follower,
    Leader,
}

impl From<RawRole> for Role {
    fn from(role: RawRole) -> Self {
        match role {
            RawRole::Follower => Self::Follower,
            RawRole::Leader => Self::Leader,
        }
    }
}
