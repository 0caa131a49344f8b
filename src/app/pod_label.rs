//! Wiring of the pod's label, which a binary without the cargo feature `kubernetes` does not have: it refuses the flag.

#[cfg(feature = "kubernetes")]
pub(super) use with::{build, start};
#[cfg(not(feature = "kubernetes"))]
pub(super) use without::{build, start};

#[cfg(feature = "kubernetes")]
mod with {
    use elector_raft::GroupHandle;

    use crate::app::Stoppable;
    use crate::config::PodSettings;
    use crate::kubernetes::{NoKubernetes, PodLabel};
    use crate::metrics::Metrics;

    /// The label, if it was asked for.
    pub(in crate::app) fn build(
        pod: Option<&PodSettings>,
        group: &GroupHandle,
    ) -> Result<Option<PodLabel>, NoKubernetes> {
        pod.map(|pod| PodLabel::build(pod, group.leadership.clone())).transpose()
    }

    pub(in crate::app) fn start(label: PodLabel, metrics: &mut Metrics) -> Stoppable {
        metrics.register_pod_label(label.status());
        Stoppable::start(|given_up| label.run(given_up))
    }
}

#[cfg(not(feature = "kubernetes"))]
mod without {
    use std::convert::Infallible;

    use elector_raft::GroupHandle;

    use crate::app::Stoppable;
    use crate::config::PodSettings;
    use crate::metrics::Metrics;

    #[expect(clippy::unnecessary_wraps, reason = "the one with Kubernetes can fail")]
    pub(in crate::app) fn build(_: Option<&PodSettings>, _: &GroupHandle) -> Result<Option<Infallible>, Infallible> {
        Ok(None)
    }

    pub(in crate::app) fn start(label: Infallible, _: &mut Metrics) -> Stoppable {
        match label {}
    }
}
