//! What a run needs of that which it breaks.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use async_trait::async_trait;

use crate::history::Member;
use crate::hub::Hub;
use crate::nemesis::Known;

/// Between two looks whether all is well.
const LOOK_PERIOD: Duration = Duration::from_millis(800);

/// Members that run somewhere, and what can be done to them.
#[async_trait(?Send)]
pub trait Stage: Sized + 'static {
    /// What can be done to them, by its name.
    fn find(name: &str) -> Option<&'static Known<Self>>;

    /// Who watches them.
    fn hub(&self) -> &Hub;

    /// Same.
    fn hub_mut(&mut self) -> &mut Hub;

    /// Members at this moment.
    fn members(&self) -> Vec<Member>;

    /// Versions, by program.
    async fn versions(&self) -> Result<Vec<(String, String)>>;

    /// Remote writes go through the gate.
    fn has_gate(&self) -> bool;

    /// What has to be done often: follows event logs, notes what has ended by itself.
    fn look(&mut self) -> Result<()>;

    /// Ends whatever a nemesis may have left: afterwards nothing is broken by the harness.
    async fn heal_all(&mut self) -> Result<()>;

    /// Waits until one leader is told by all members, all are ready, and samples arrive.
    async fn wait_settled(&mut self, within: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            self.look()?;
            let stored = self.hub().stored();
            tokio::time::sleep(LOOK_PERIOD).await;
            match check_settled(self.hub(), stored).await {
                Ok(()) => return Ok(()),
                Err(error) if start.elapsed() > within => {
                    return Err(error.context(format!("the group is not well after {} s", within.as_secs())));
                }
                Err(_) => {}
            }
        }
    }
}

async fn check_settled(hub: &Hub, stored: usize) -> Result<()> {
    hub.check_whole().await?;
    ensure!(hub.stored() > stored, "no samples arrive");
    Ok(())
}
