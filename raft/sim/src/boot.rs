//! What a simulated process does: it reads its disk, answers, and lives; beside it discovery looks up the peers.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use super::checkers::Event;
use super::device::Session;
use super::executor::LifeId;
use super::net::SimTransport;
use super::world::{MachineId, with};
use crate::lives::{Lives, Settings};
use crate::store::{Disk, Write, Writer};
use crate::{PeerSet, rt};

/// Time between two lookups.
const LOOKUP_PERIOD: Duration = Duration::from_secs(1);

/// Looks up the peers, again and again.
pub(super) async fn discover(id: MachineId, told: watch::Sender<PeerSet>) {
    loop {
        let now = rt::now();
        let answer = with(|world| world.look_up(id).map(|records| world.dns.peers(&records, now)));
        if let Some(answer) = answer {
            told.send_replace(answer);
        }
        rt::sleep(LOOKUP_PERIOD).await;
    }
}

/// The start of a process.
pub(super) struct Boot {
    pub(super) id: MachineId,
    pub(super) life: LifeId,
    pub(super) address: String,
    pub(super) settings: Settings,
    pub(super) ends: crate::GroupEnds,
    pub(super) peers: watch::Receiver<PeerSet>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) old_id: Option<crate::NodeId>,
}

impl Boot {
    pub(super) async fn run(self, session: Session) -> Result<(), String> {
        let (mut disk, mut loaded) =
            Disk::open_on(session, Path::new("simulated")).map_err(|error| error.to_string())?;
        if let Some(old_id) = self.old_id
            && loaded.holds_nothing()
        {
            loaded.identity.node_id = old_id;
            disk.commit([&Write::Identity(loaded.identity.clone())]).map_err(|error| error.to_string())?;
        }
        let writer = Writer::start(disk);
        let (id, life) = (self.id, self.life);
        with(|world| {
            world.see(&Event::Started { machine: id, loaded: &loaded });
            if let Some(process) = &mut world.machines[id.0].process {
                process.writer = Some(writer.clone());
            }
        });
        let transport = SimTransport { machine: id, address: self.address.clone() };
        let (lives, endpoint) = Lives::new(self.settings, loaded, writer, transport, self.ends).await?;
        with(|world| {
            world.net.hosts.insert(self.address, (id, life, endpoint));
            if let Some(process) = &mut world.machines[id.0].process {
                process.shared = Some(lives.shared.clone());
            }
        });
        lives.run(self.peers, self.stopped).await
    }
}
