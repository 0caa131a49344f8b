//! What a run needs of that which it breaks.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use async_trait::async_trait;

use crate::history::Member;
use crate::hub::Hub;
use crate::nemesis::Known;

/// Between two looks while something is waited for.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// Samples come in every second.
const SAMPLE_WITHIN: Duration = Duration::from_millis(1_500);

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

    /// Looks on until something holds, or is there.
    async fn until<T, H>(&mut self, within: Duration, what: &str, holds: H) -> Result<T>
    where
        H: AsyncFn(&Self) -> Result<T>,
    {
        let start = Instant::now();
        loop {
            self.look()?;
            match holds(self).await {
                Ok(there) => return Ok(there),
                Err(error) if start.elapsed() > within => {
                    return Err(error.context(format!("waited {} s for {what}", within.as_secs())));
                }
                Err(_) => tokio::time::sleep(LOOK_PERIOD).await,
            }
        }
    }

    /// Until one leader is told by all members, all are ready, and samples arrive.
    async fn wait_settled(&mut self, within: Duration) -> Result<()> {
        self.until(within, "the group to be well", async |stage| check_settled(stage.hub()).await).await
    }
}

async fn check_settled(hub: &Hub) -> Result<()> {
    hub.check_whole().await?;
    let stored = hub.stored();
    tokio::time::sleep(SAMPLE_WITHIN).await;
    ensure!(hub.stored() > stored, "no samples arrive");
    Ok(())
}
