//! Members come and go, as when somebody scales the `StatefulSet`. The disk of a member that goes stays, and is there when it
//! comes back.

use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;

use super::{Aim, Begun, Nemesis};
use crate::deployment::{Deployment, member_name};
use crate::recorder::now_ns;

pub(super) fn up() -> Box<dyn Nemesis> {
    Box::new(Scale { up: true, member: None })
}

pub(super) fn down() -> Box<dyn Nemesis> {
    Box::new(Scale { up: false, member: None })
}

struct Scale {
    up: bool,
    member: Option<String>,
}

#[async_trait(?Send)]
impl Nemesis for Scale {
    async fn install(&mut self, deployment: &mut Deployment, _: &Aim, _: &mut StdRng) -> Result<Begun> {
        let replicas = deployment.replicas().len();
        let member = member_name(if self.up { replicas } else { replicas - 1 });
        if !self.up
            && let Err(error) = deployment.wait_whole().await
        {
            return Ok(Begun::skipped(format!("another member is missing already: {error:#}")));
        }
        let at_ns = now_ns();
        self.member = Some(member.clone());
        if self.up {
            deployment.create_pod(&member).await?;
        } else {
            deployment.delete_pod(&member, true).await?;
        }
        let now = deployment.replicas().len();
        Ok(Begun::installed(at_ns, [member], format!("from {replicas} to {now}")).seen(now.abs_diff(replicas) == 1))
    }

    async fn heal(&mut self, deployment: &mut Deployment) -> Result<()> {
        let Some(member) = self.member.take() else { return Ok(()) };
        if self.up { deployment.delete_pod(&member, true).await } else { deployment.create_pod(&member).await }
    }
}
