//! The longest interval at which a configuration makes samples.
//!
//! Counted is what is used: the interval of each scrape job (its own or the global one), the global evaluation interval
//! where there are rule files. Values that Prometheus would refuse are passed over: it runs no such configuration. Not
//! visible here: intervals of rule groups in rule files, jobs in `scrape_config_files` beyond the global interval, and what
//! relabelling sets (`__scrape_interval__`).

use std::time::Duration;

use super::{at_path, is_null_node};
use crate::gate::margin::parse_duration;
use crate::render::keys;
use crate::render::tree::{NodeId, Tree, View};

/// Prometheus's default for both global intervals, also where 0 is written.
const DEFAULT: Duration = Duration::from_secs(60);

/// The longest interval of a configuration.
pub(super) fn longest(tree: &Tree<'_>, config: NodeId) -> Duration {
    let global = |key| interval(tree, config, &["global", key]).unwrap_or(DEFAULT);
    let scrape_interval = global("scrape_interval");
    let entries = |key| match at_path(tree, config, &[key]).map(|list| tree.view(list)) {
        Some(View::Sequence(entries)) => entries,
        _ => &[],
    };
    let jobs = entries("scrape_configs").iter();
    let of_jobs = jobs.map(|&job| interval(tree, job, &["scrape_interval"]).unwrap_or(scrape_interval));
    let of_files = entries("scrape_config_files").first().map(|_| scrape_interval);
    let of_rules = entries("rule_files").first().map(|_| global("evaluation_interval"));
    of_jobs.chain(of_files).chain(of_rules).max().unwrap_or(scrape_interval)
}

/// An interval that is set; 0 is not.
fn interval(tree: &Tree<'_>, node: NodeId, path: &[&str]) -> Option<Duration> {
    let node = at_path(tree, node, path).filter(|&node| !is_null_node(tree, node))?;
    parse_duration(keys::text(tree, node)).filter(|interval| !interval.is_zero())
}
